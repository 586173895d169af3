// SPDX-License-Identifier: GPL-3.0-or-later
// A Tree over a real Replica in a temporary directory, filled by hand.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/notifier.h"
#include "fs/tree/tree.h"
#include "tests/fs/syncer_double.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::testing {

// One name as the source shows it.
struct Name {
  std::string name;
  NodeAttributes attr;
  std::string target;
  StoredXattrs xattrs;
  uint32_t group = 0;
};

Name file(std::string name, uint64_t size, uint32_t permissions = 0644, int64_t mtime_s = 1'700'000'000);
Name directory(std::string name, uint32_t permissions = 0755);
Name symlink(std::string name, std::string target);

// What the kernel's side was asked to forget, when there is no kernel.
class RecordingCaches final : public KernelCaches {
 public:
  int drop_entry(NodeId parent, std::string_view name) override;
  int drop_attributes(NodeId node) override;
  int drop_all(NodeId node) override;
  std::vector<std::string> calls() const;  // "entry 1 name", "attributes 5", "all 1"
  void clear();
  // Runs inside each call, before it is recorded.
  std::function<void()> inside;

 private:
  void record(std::string call);
  mutable std::mutex mutex_;
  std::vector<std::string> calls_;
};

class TreeRig {
 public:
  TreeRig();
  ~TreeRig();

  // Brings a directory of the Replica to exactly these names and tells the notifier, as the Syncer does.
  std::map<std::string, NodeId> list(NodeId directory, std::vector<Name> names);
  // The same without telling anyone: for what a listing finds before anybody asked.
  std::vector<NameChange> list_quietly(NodeId directory, std::vector<Name> names,
                                       std::map<std::string, NodeId>* nodes = nullptr);
  // Makes the whole content present.
  void fill(NodeId file, std::string_view content);
  // Makes only [0, content.size()) present of a large file of `size` bytes.
  void fill_start(NodeId file, std::string_view content, uint64_t size);
  // A file of `size` bytes that is a hole except for `mark` at `mark_offset`.
  void fill_sparse(NodeId file, uint64_t size, std::string_view mark, uint64_t mark_offset);
  NodeId node(std::string_view path) const;  // "" is the root

  // Looks a name up as the kernel would; throws unless it is there.
  NodeId know(NodeId parent, std::string_view name);
  // Calls of the Tree, waited for.
  Result<Entry> lookup(NodeId parent, std::string_view name);
  Result<struct stat> getattr(NodeId id);
  Result<std::string> read(NodeId id, uint64_t offset, uint32_t length);
  Result<std::string> getxattr(NodeId id, std::string_view name, size_t limit = 65536);
  Result<std::vector<std::string>> listxattr(NodeId id, bool privileged = true);

  support::TempDir dir;
  std::unique_ptr<Replica> replica;
  static constexpr unsigned kExecutorThreads = 2;
  Executor executor{kExecutorThreads};
  SyncerDouble syncer;
  Notifier notifier;
  std::unique_ptr<Tree> tree;
};

// Turns a call with a `done` into one that waits; fails the test after 10 s.
template <class T, class Call>
Result<T> wait_for(Call call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  call(Done<T>([promise](Result<T> result) { promise->set_value(std::move(result)); }));
  if (future.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
    return Error(Errc::kLimit, "the test waited in vain");
  }
  return future.get();
}

}  // namespace rsyncfs::testing
