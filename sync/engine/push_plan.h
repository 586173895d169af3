// SPDX-License-Identifier: GPL-3.0-or-later
// What is to be pushed next. Nothing is remembered: each plan is made from base and local as they are now
// (sync/replica/pending.h), a batch of steps that each can be done at once and by itself; when the source has
// acknowledged it, base has moved and the next plan is made. So any mixture of renames, exchanges, changes of
// type, deletions and creations converges, and whatever is done halfway is simply planned again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/engine/local_only.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// In the order in which they are preferred. A batch is of one action.
enum class PushAction : uint8_t {
  kCreate,           // directories (parents first), symbolic links, FIFOs, devices, sockets
  kMove,             // to the same name in another directory: all of a batch from one to another
  kRenameDirectory,  // to another name, in the same or another directory: one a batch
  kLink,             // one more name for a regular file, where base has nothing
  kReplace,          // the same over a file that is no longer needed there: all of a batch in one directory
  kData,             // contents and attributes of regular files
  kAttributes,
  kDelete,  // names; directories are empty, or have nothing that does not go in the same batch
};
std::string_view push_action_name(PushAction action);

struct PushStep {
  NodeId node = 0;  // that is made, moved, changed; kDelete: that loses the name
  // Where the source is to have it (kDelete: has it), and that place's path at the source.
  NodeId parent = 0;
  std::string name;
  std::string path;
  // kMove, kRenameDirectory, kLink, kReplace: where it is now. kMove and kRenameDirectory: that name goes.
  NodeId from_parent = 0;
  std::string from_name;
  std::string from_path;
  // What base has at that place and loses; 0: nothing, or the node itself.
  NodeId occupant = 0;
  // kData: the node's other names at the source, which are to lead to the new contents, too.
  std::vector<Binding> other_names;
  std::vector<std::string> other_paths;
  // It was tried before and failed when a part of it was done: what is at the place may be that.
  bool halfway = false;
  unsigned failures = 0;  // of it, in a row
  int64_t since_ms = 0;   // Unix time of the first change that it pushes; 0: not known
};

struct PushBatch {
  PushAction action = PushAction::kCreate;
  std::vector<PushStep> steps;
  std::string spare;  // PushRules::spare_name, for kReplace and kData
};

struct PushPlan {
  std::optional<PushBatch> batch;
  // What will be looked at before it is changed, by this batch and by those that can follow it at once.
  std::vector<std::string> looks;
  int64_t next_due_ms = 0;  // Unix time at which something more will be due; 0: never
  size_t held = 0;          // differences passed over because PushLimits say so
  size_t blocked = 0;       // that wait for others
  // What is passed over because of PushRules::local_only.
  PendingSummary local_only;
};

// What may not be touched for now (it failed lately). Asked from plan_push() only.
class PushHold {
 public:
  virtual ~PushHold() = default;
  virtual bool held(NodeId node) const = 0;
};

struct PushRules {
  int64_t now_ms = 0;  // Unix time
  // Everything is due at once.
  bool urgent = false;
  int64_t settle_ms = 200;               // a name or an attribute waits so long after its first change;
  int64_t longest_settle_ms = 1'000;     // deletions for the last one's, but not longer than this
  int64_t writeback_ms = 1'000;          // contents wait so long after their last change,
  int64_t longest_writeback_ms = 5'000;  // but not longer than this after their first
  int64_t together_ms = 0;               // what is due so soon after something else goes along with it
  size_t max_steps = 768;                // a batch of kData
  uint64_t max_bytes = uint64_t{8} << 20;
  size_t max_small_steps = 2'048;  // a batch of anything else
  size_t max_scanned = 16'384;     // differences looked at for one plan, names and nodes each
  // False: the server moves nothing. Files are linked and lose the old name then.
  bool moves = true;
  // False: nothing can be moved into the root. No daemon takes its module's top as a backup directory.
  bool root_takes_moves = true;
  const PushHold* hold = nullptr;
  const LocalOnly* local_only = nullptr;
  // A name that nothing has, for what must get out of another's way (spare_names.h).
  std::string spare_name;
};

// Errors: the Replica's.
Result<PushPlan> plan_push(const PendingChanges& pending, const PushRules& rules);

}  // namespace rsyncfs
