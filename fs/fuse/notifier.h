// SPDX-License-Identifier: GPL-3.0-or-later
// Tells the kernel what of its caches is stale. Threads of its own, holding no lock while they call the
// kernel.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/fuse/event_raiser.h"
#include "fs/fuse/kernel_caches.h"
#include "fs/fuse/renamings.h"
#include "fs/tree/tree.h"
#include "sync/engine/syncer.h"

namespace rsyncfs {

struct NotifierStatistics {
  uint64_t queued = 0;     // waiting now
  uint64_t sent = 0;       // calls into the kernel
  uint64_t coalesced = 0;  // asked for while the same was waiting
  uint64_t overflows = 0;  // changes of a name that were turned into "the whole directory"
  uint64_t lost = 0;       // dropped at the second limit; each burst of them is in the log
  uint64_t events = 0;     // raised for those who watch
};

// Limits of what waits. Beyond the first a change of a name becomes one of its whole directory: that
// directory's own name is dropped, and with it every name the kernel holds below. The root has no name that
// could be dropped: its names may go up to the second limit, as may whole directories.
struct NotifierLimits {
  size_t names = 1 << 16;
  size_t everything = 1 << 18;
  size_t events = 1 << 14;  // of each kind; what comes beyond is not raised
};

// The sink for the Syncer's events. Made first, since the Syncer needs it; until attach() events are dropped,
// because no kernel knows anything yet. on_*(): any thread, never block.
class Notifier final : public SyncerEvents {
 public:
  explicit Notifier(NotifierLimits limits = {}) : limits_(limits) {}
  ~Notifier() override;
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void on_changes(std::vector<NameChange> changes) override;
  void on_content_changed(NodeId node) override;
  void on_growth(NodeId node, UniqueFunction<void()> told) override;
  bool is_in_use(NodeId node) override;

  // Before bytes of a file are answered: the kernel is to have been told by then that what it knows of the
  // file's size is stale, because it looks at that when it has the bytes. Otherwise a reader "to the end"
  // stops where the end was. Waits for a thread that does nothing else, and not for ever. Any thread.
  void settle_attributes(NodeId file);

  // Called by the Front, one at a time. Both must outlive detach(), which waits for the call under way and
  // drops the rest.
  // `events` may be null.
  void attach(KernelCaches& kernel, Tree& tree, EventRaiser* events = nullptr);
  void detach();
  // The first half of detach(), which does not wait: nothing new is sent. True when no call is under way any
  // more within the limit.
  bool stop_sending(std::chrono::milliseconds limit);
  // True when nothing is queued or being sent within the limit.
  bool wait_idle(std::chrono::milliseconds limit);
  NotifierStatistics statistics() const;

 private:
  enum class Kind : uint8_t { kEntry, kAttributes, kChanged, kAll, kDirectory };
  struct Item {
    Kind kind;
    NodeId node;       // kEntry: the parent
    std::string name;  // kEntry only
    bool operator==(const Item&) const = default;
  };
  struct ItemHash {
    size_t operator()(const Item& item) const;
  };

  // These hold mutex_.
  void push_events(const std::vector<NameChange>& changes);
  void push_event(const NameChange& change);
  void push_change(const NameChange& change);
  void push_name(const NameChange& change);
  void push(Kind kind, NodeId node, std::string_view name = {});
  void lose();
  void note_stale(NodeId node);
  void note_told(const std::vector<Item>& batch, uint64_t until);

  void run();
  void run_attributes();
  void tell(std::unique_lock<std::mutex>& lock, NodeId node);
  std::vector<Item> next_batch(std::unique_lock<std::mutex>& lock);
  std::vector<NameChange> next_events(bool removals);
  bool has_events() const { return !removed_.empty() || !renamed_.empty() || !changed_.empty(); }
  void raise(const std::vector<NameChange>& events);
  // What cannot be told as renamed is told as removed now, and left to be told as new.
  std::vector<NameChange> raise_renamings(const std::vector<Renaming>& renamings, std::vector<Item>& batch);
  static void erase_name_of(std::vector<Item>& batch, const NameChange& change);
  // These hold nothing; each returns the number of calls it made.
  uint64_t send(const Item& item);
  uint64_t send_change(NodeId node);
  uint64_t send_directory(NodeId directory);

  const NotifierLimits limits_;
  mutable std::mutex mutex_;  // guards all below but the threads
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::deque<const Item*> order_;  // points into waiting_
  std::unordered_set<Item, ItemHash> waiting_;
  std::deque<NameChange> removed_;  // events to come: of names that went, before the kernel forgets them
  std::deque<Renaming> renamed_;    // likewise
  std::deque<NameChange> changed_;  // all others, after it forgot what was before
  EventRaiser* events_ = nullptr;
  std::vector<UniqueFunction<void()>> grown_;  // called when all that is waiting now was sent
  KernelCaches* kernel_ = nullptr;
  Tree* tree_ = nullptr;
  bool sending_ = false;               // thread_ is
  bool telling_ = false;               // attributes_thread_ is
  std::atomic<bool> stopping_{false};  // changed under mutex_
  bool losing_ = false;
  NotifierStatistics statistics_;
  // Of attributes that the kernel has not been told of. It is told once only: what it learns of the node
  // while it is told again it does not believe.
  struct Stale {
    uint64_t change = 0;   // the number of the last one
    bool telling = false;  // by one of the threads
  };
  std::unordered_map<NodeId, Stale> stale_;
  uint64_t changes_ = 0;
  std::atomic<bool> any_stale_{false};  // changed under mutex_
  std::deque<NodeId> awaited_;          // of stale_, by settle_attributes()
  std::condition_variable awaited_wake_;
  std::condition_variable told_;
  std::thread thread_;
  // Calls that never wait for pages, and so for no request.
  std::thread attributes_thread_;
};

}  // namespace rsyncfs
