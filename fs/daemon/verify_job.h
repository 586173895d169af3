// SPDX-License-Identifier: GPL-3.0-or-later
// `rsyncfs verify`: reads what is here through, fetches again what is damaged, and with --remote compares all
// of it with the source.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "fs/control/server.h"
#include "fs/control/verify_document.h"
#include "fs/daemon/path_refresh.h"
#include "fs/daemon/path_walk.h"
#include "fs/daemon/store_check.h"

namespace rsyncfs {

// Loop thread only. Lives until its last answer is given, or its client has gone.
class VerifyJob : public std::enable_shared_from_this<VerifyJob> {
 public:
  static constexpr size_t kMaxInFlight = 256;  // files that are fetched again or compared at a time
  static constexpr size_t kMaxFindings = 1'000;
  static constexpr size_t kMaxUnanswered = 8;  // files in a row: then the source is not asked any more
  static constexpr std::chrono::milliseconds kProgressInterval{200};

  // `events` hears of contents that took the place of damaged or differing ones.
  VerifyJob(Loop& loop, WalkContext context, SyncerEvents& events, const ControlRequest& request,
            std::shared_ptr<ControlReply> reply);
  void start();

 private:
  using FilePtr = std::shared_ptr<const CheckedFile>;

  void check_records();
  void refresh_next_path();
  void walk_next_path();
  void step();
  void on_step(StoreCheck::Step step);
  void take(CheckedFile file);
  void restore(const FilePtr& file, const std::string& was, bool differed);
  void compare(const FilePtr& file);
  void compared(const FilePtr& file, const Result<Comparison>& outcome);
  void drop_differing(const FilePtr& file);
  // Asks the syncer; `then` is called but for after cancel().
  template <class T, class Ask>
  void ask(Ask ask_for, UniqueFunction<void(Result<T>)> then);
  void note_answer(const Error* error);
  void done();
  void tell(const std::string& path, std::string what);
  void fail_path(const std::string& path, const Error& error);
  void finish_if_over();
  void finish(const SyncerStatus& after);
  void give_up(const Error& why);
  void show_progress_later();
  void cancel();

  Loop& loop_;
  WalkContext context_;
  SyncerEvents& events_;
  std::deque<std::string> to_refresh_;
  std::deque<std::string> to_walk_;
  std::shared_ptr<ControlReply> reply_;  // null at the end
  std::shared_ptr<PathRefresh> refresh_;
  std::shared_ptr<PathWalk> walk_;
  const std::shared_ptr<StoreCheck> check_;
  std::map<uint64_t, RequestId> in_flight_;  // by ticket
  uint64_t last_ticket_ = 0;
  bool stepping_ = false;
  bool read_through_ = false;
  size_t unanswered_ = 0;                // in a row
  std::optional<Error> source_is_away_;  // nothing is asked of it any more
  uint64_t sent_before_ = 0;
  uint64_t received_before_ = 0;
  size_t findings_ = 0;
  JobProgress progress_;
  VerifyTotals totals_;
};

}  // namespace rsyncfs
