// SPDX-License-Identifier: GPL-3.0-or-later
// One case for each kind of push, small enough to be broken off at every step: what the source has before,
// what is changed here, and what the source must have in between and afterwards.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/engine/engine_rig.h"

namespace rsyncfs {

// Everything below a directory, by path.
struct TreeItem {
  char type = 'f';       // f, d, l, p
  std::string contents;  // a file's bytes, a symbolic link's target
  unsigned links = 1;    // names of a file
  bool operator==(const TreeItem&) const = default;
};
using Tree = std::map<std::string, TreeItem>;

Tree read_tree(const std::string& directory);
void write_tree(const Tree& tree, const std::string& directory);
// As users of the mount see it; contents are read.
Tree read_local_tree(EngineRig& rig, const std::string& directory);
// Names, with what differs; "" when nothing does.
std::string tree_difference(const Tree& expected, const Tree& found);

struct PushStepCase {
  std::string name;
  Tree before;
  Tree after;
  // Makes the one of the other, below `directory`.
  std::function<void(EngineRig& rig, const std::string& directory)> change;
  // Files grow in place: the source may show a part of what was added.
  bool grows = false;
  // What keeps its name may be away for a moment.
  bool gaps = false;
};
inline void PrintTo(const PushStepCase& step, std::ostream* out) {
  *out << step.name;
}

const std::vector<PushStepCase>& push_step_cases();

// What is wrong with the source's tree while a push of the case is broken off; "" for nothing. Each name must
// show its old or its new version, and what is moved must be somewhere. Temporary and spare names may be
// there.
std::string broken_state(const PushStepCase& step, const Tree& found);
// Names that only pushing makes.
bool is_debris(const std::string& path);

}  // namespace rsyncfs
