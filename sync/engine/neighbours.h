// SPDX-License-Identifier: GPL-3.0-or-later
// Recognises that a part of the tree is being read through, and names the files that are likely to be read
// next, within a budget that grows as they are.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/file_target.h"
#include "sync/engine/tree_walk.h"
#include "sync/engine/unread_ahead.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread, but for note_read().
class Neighbours {
 public:
  // `found` gets files that are to be brought, first the ones that are likely to be wanted first. Each of
  // them counts until note_read() or drop(). `over`: what was not asked of the source yet need not be.
  using Found = std::function<void(std::vector<FileTarget>)>;
  Neighbours(const EngineContext& context, Found found, std::function<void()> over);
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // Somebody asks for a file that is neither here nor on its way.
  void note_miss(const FileTarget& target, Clock::time_point now);
  // Any thread, cheap: somebody asks for this file, whether or not it is here.
  void note_read(NodeId file);
  // It will not be brought.
  void drop(NodeId file) { unread_.take(file); }
  // Looks whether the reading has stopped.
  void tick(Clock::time_point now);
  bool active() const { return scan_.has_value() || unread_.bytes() > 0; }

 private:
  // Directories in which files were missed lately, with how many.
  struct Missed {
    NodeId directory = 0;
    unsigned misses = 0;
    Clock::time_point last{};
  };
  // A part of the tree, at and below `top`, that is read through.
  struct Scan {
    std::string top;
    NodeId directory = 0;                      // of the last miss
    std::deque<WalkPosition> directory_rests;  // of single directories; they come first
    std::optional<WalkPosition> below;         // of everything at and below `top`
  };

  bool is_read_through(const FileTarget& target, Clock::time_point now);
  void look();
  void looked(bool single, uint64_t round, WalkStep step);
  void end_scan();

  EngineContext context_;
  const Found found_;
  const std::function<void()> over_;
  const uint64_t most_bytes_;  // that budget_bytes_ grows to
  UnreadAhead unread_;
  std::atomic<uint64_t> budget_bytes_;
  std::atomic<uint64_t> used_bytes_{0};  // read of what was brought, since the budget last grew
  std::atomic<bool> use_posted_{false};
  std::atomic<int64_t> last_use_{0};  // Clock ticks
  std::vector<Missed> missed_;
  std::optional<Scan> scan_;
  uint64_t round_ = 0;  // which scan it is
  Clock::time_point last_miss_{};
  bool looking_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Strand walks_;  // last: nothing of it runs any more when the others go
};

}  // namespace rsyncfs
