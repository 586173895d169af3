// SPDX-License-Identifier: GPL-3.0-or-later
// A directory that gets another name: the new one is made, everything in the old one is moved into it
// (rename(2) on the server, entry by entry), and the old one removed. Each waits until the server has gone
// through the list before; what is in front of the list is said meanwhile. Broken off, it is run again from
// the start: what has been moved is not found any more.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/remote_names.h"

namespace rsyncfs {

class PushRenameJob final : public PushJob {
 public:
  // `again`: an earlier run may have moved a part.
  PushRenameJob(const Surroundings& around, PushBatch batch, bool again, Finished finished);
  void start() override;

 private:
  void look_first();
  void judge(const Findings& found);
  static PushConfig making();
  PushConfig moving() const;
  static PushConfig removing();
  void make_directory();
  void made(const PushRunResult& result);
  void read_children();
  void move_children(std::vector<std::string> names);
  void remove_old();
  void removed(const PushRunResult& result);
  void record();
  const PushStep& step() const { return facts().front().step; }

  const bool again_;
  bool to_is_there_ = false;
  bool is_moved_ = false;   // by an earlier run, of which nobody heard
  uint64_t xattr_set_ = 0;  // that the directory was made with
  unsigned rounds_ = 0;
  std::unique_ptr<RemoteNames> names_;  // of the old directory
};

}  // namespace rsyncfs
