// SPDX-License-Identifier: GPL-3.0-or-later
// Brings files, and all below directories, into the store.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/control/protocol.h"
#include "fs/daemon/path_walk.h"

namespace rsyncfs {

// Loop thread only. Lives until its last answer is given.
class Hydration : public std::enable_shared_from_this<Hydration> {
 public:
  static constexpr size_t kMaxQueuedFiles = 16'384;  // found and waiting; the walk pauses there
  static constexpr size_t kPageEntries = 1'024;      // names of a directory taken at a time

  // Both are called until cancel().
  struct Listener {
    std::function<void(const std::string& path, const Error& error)> failed;
    std::function<void(const JobProgress& progress)> over;  // once
  };

  // `max_in_flight`: files asked of the syncer at a time.
  Hydration(WalkContext context, size_t max_in_flight, Listener listener)
      : context_(context), max_in_flight_(max_in_flight), listener_(std::move(listener)) {}

  // Before start().
  void add_path(std::string path) { paths_.push_back(std::move(path)); }
  void add_node(const Node& node, const std::string& path);
  void start() { pump(); }
  void cancel();
  // With what is under way.
  JobProgress progress(const SyncerStatus& status) const;

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

  WalkContext context_;
  const size_t max_in_flight_;
  Listener listener_;
  bool over_ = false;
  std::deque<std::string> paths_;  // still to be walked to
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
