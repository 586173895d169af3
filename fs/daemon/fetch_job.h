// SPDX-License-Identifier: GPL-3.0-or-later
// `rsyncfs fetch`: brings files, and all below directories, into the store.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/control/server.h"
#include "fs/daemon/path_walk.h"

namespace rsyncfs {

// Loop thread only. Lives until its last answer is given or its client has gone.
class FetchJob : public std::enable_shared_from_this<FetchJob> {
 public:
  static constexpr size_t kMaxInFlight = 64;         // files asked of the syncer at a time
  static constexpr size_t kMaxQueuedFiles = 16'384;  // found and waiting; the walk pauses there
  static constexpr size_t kPageEntries = 1'024;      // names of a directory taken at a time
  static constexpr size_t kMaxReportedFailures = 1'000;
  static constexpr std::chrono::milliseconds kProgressInterval{200};

  FetchJob(Loop& loop, WalkContext context, std::vector<std::string> paths,
           std::shared_ptr<ControlReply> reply);
  void start();

 private:
  struct File {
    NodeId node = 0;
    uint64_t size = 0;
    std::string path;
  };
  struct Directory {
    NodeId node = 0;
    std::string path;
    std::string after;  // where the next page begins
    bool listed = false;
  };
  struct Page;

  void pump();
  void walk_next_path();
  void expand_next_directory();
  void read_page(Directory directory);
  static Result<Page> page_of(const WalkContext& context, Directory directory);
  void on_page(Page page);
  void add_file(File file);
  void fetch(File file);
  void on_fetched(uint64_t ticket, const File& file, const Result<void>& outcome);
  void fail(const std::string& path, const Error& error);
  void show_progress_later();
  void show_progress(const SyncerStatus& status);
  void end();
  void abandon();

  Loop& loop_;
  WalkContext context_;
  std::deque<std::string> paths_;        // still to be walked to
  std::shared_ptr<ControlReply> reply_;  // null at the end
  std::shared_ptr<PathWalk> walk_;
  std::vector<Directory> directories_;  // still to be read, last first
  std::deque<File> queued_;
  std::map<uint64_t, RequestId> in_flight_;  // by ticket
  std::map<std::string, size_t> in_flight_paths_;
  uint64_t last_ticket_ = 0;
  RequestId listing_ = 0;
  bool expanding_ = false;
  bool pumping_ = false;
  JobProgress progress_;
};

}  // namespace rsyncfs
