// SPDX-License-Identifier: GPL-3.0-or-later
// Pushes what is pending to a ModelSource, one step at a time, as carefully as a real one: nothing is
// replaced there that is not what base says.
#pragma once

#include <random>
#include <string>

#include "tests/replica/model_source.h"

namespace rsyncfs {

class ModelPusher {
 public:
  ModelPusher(Replica& store, ModelSource& source, uint64_t seed)
      : store_(&store), source_(source), random_(seed) {}
  // Of the same tree, opened again.
  void use(Replica& store) { store_ = &store; }

  // One step that is possible now, chosen at random. False: there is none.
  bool step();
  // The answer to a step gets lost now and then.
  void lose_answers(bool lose) { lose_answers_ = lose; }

 private:
  bool push_name(const PendingName& name);
  bool push_node(const PendingNode& node);
  bool create(const PendingName& name, const std::string& parent);
  bool bring(const PendingName& name, const std::string& parent);
  bool replace(const PendingName& name, const std::string& path);
  bool set_aside(const PendingName& name);
  bool is_as_base_says(const std::string& path, const BaseNode& base);
  void acknowledge(Acknowledged news);
  BaseNode state_at(const std::string& path, NodeId node);

  Replica* store_;
  ModelSource& source_;
  std::mt19937_64 random_;
  bool lose_answers_ = false;
};

}  // namespace rsyncfs
