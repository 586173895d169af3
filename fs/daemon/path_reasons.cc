// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/path_reasons.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "fs/control/text_lines.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

class Reasons {
 public:
  Reasons(const PathInfo& info, const PathSurroundings& around)
      : info_(info), around_(around), syncer_(around.syncer) {}

  std::vector<std::string> all() {
    add_refused();
    add_unsent();
    add_slow();
    add_stale();
    return std::move(out_);
  }

 private:
  bool dirty() const { return !info_.differences.empty(); }
  bool partly_elsewhere() const { return info_.state == "remote" || info_.state == "partial"; }
  bool is_new() const {
    return std::find(info_.differences.begin(), info_.differences.end(), "new") != info_.differences.end();
  }
  void add(std::string text) { out_.push_back(std::move(text)); }
  static std::string progress(const TransferStatus& transfer) {
    return std::to_string(transfer.done_bytes) + " of " + std::to_string(transfer.total_bytes) + " bytes";
  }

  // Of "PATH: REASON" what is said of this path, or of a directory above it.
  struct Said {
    std::string path;
    std::string reason;
  };
  bool find(const std::vector<std::string>& texts, Said& said) const {
    for (std::string_view path = info_.path;; path = path.substr(0, path.rfind('/'))) {
      for (const std::string& text : texts) {
        // As it was escaped for being shown.
        for (const std::string& shown : {std::string(path), escape_control(path)}) {
          if (shown.empty() || !text.starts_with(shown + ": ")) continue;
          said = {std::string(path), text.substr(shown.size() + 2)};
          return true;
        }
      }
      if (path.find('/') == std::string_view::npos) return false;
    }
  }

  void add_refused() {
    Said said;
    if (find(syncer_.failing_paths, said)) {
      add(said.path == info_.path ? "the source refused it: " + said.reason
                                  : "the source refused " + said.path + ", in which it is: " + said.reason);
    }
    if (!around_.writable) {
      add(around_.read_only_reason.empty()
              ? "changes of it are refused: the mount is read-only"
              : "changes of it are refused: the source takes none: " + around_.read_only_reason);
    }
  }

  void add_unsent() {
    if (!dirty()) return;
    Said said;
    const size_t before = out_.size();
    if (find(syncer_.push.failing, said)) {
      add(said.path == info_.path
              ? "not sent: " + said.reason
              : "not sent: it waits for " + said.path + ", which the source did not take: " + said.reason);
    }
    for (const TransferStatus& transfer : syncer_.push.sending) {
      if (transfer.path == info_.path) add("being sent: " + progress(transfer));
    }
    if (!syncer_.push.stopped.empty())
      add("sending is stopped: " + syncer_.push.stopped + "; rsyncfs resume goes on");
    if (!around_.read_only_reason.empty())
      add("not sent: the source takes no changes: " + around_.read_only_reason + "; it is kept here");
    if (syncer_.link == LinkState::kDown)
      add("not sent: the source cannot be reached; it is sent when it is back");
    if (out_.size() == before) add_waiting();
  }

  void add_waiting() {
    const int64_t age_s = info_.changed_at_s == 0 ? 0 : around_.now_s - info_.changed_at_s;
    const uint64_t others = pending_changes(syncer_.push);
    if (age_s <= kUsualDelayS) {
      add("not sent yet: it was changed just now, and is sent when it is left alone for a moment");
    } else if (others > 1) {
      add("not sent yet: it waits its turn, " + changes_text(others, syncer_.push.pending_bytes) +
          " are to be sent");
    } else {
      add("not sent yet: it is still being changed, or the source takes its time");
    }
  }

  void add_slow() {
    for (const TransferStatus& transfer : syncer_.transfers) {
      if (transfer.path == info_.path) add("being fetched: " + progress(transfer));
    }
    const bool directory = info_.type == "directory";
    const bool unlisted = directory && info_.listed_at_s == 0 && !is_new();
    if (!partly_elsewhere() && !unlisted) return;
    const std::string lacking = unlisted ? "its names were never listed" : "not all of it is here";
    if (syncer_.link == LinkState::kDown) {
      add("the source cannot be reached, and " + lacking +
          (syncer_.last_error.empty() ? "" : ": " + syncer_.last_error));
    } else if (syncer_.link == LinkState::kConnecting) {
      add("the connection is being made");
    } else if (unlisted) {
      add("slow at first: " + lacking + ", that takes a round trip to the source");
    } else if (info_.type == "file" && info_.size_bytes > info_.cached_bytes) {
      add("slow at first: " + human_bytes(info_.size_bytes - info_.cached_bytes) +
          " of it must come from the source" +
          (syncer_.waiting_requests > 0
               ? ", for which " + counted(syncer_.waiting_requests, "request") + " wait now"
               : ""));
    }
    const CacheStatus& cache = syncer_.cache;
    const bool looked_at = cache.free_bytes != 0 || cache.min_free_bytes != 0;
    if (looked_at && cache.free_bytes < cache.min_free_bytes)
      add("slow each time: the disk of the store is full (" + human_bytes(cache.free_bytes) +
          " free, min_free= is " + human_bytes(cache.min_free_bytes) + "), so what is fetched is not kept");
  }

  void add_stale() {
    if (is_new()) return;
    if (syncer_.link == LinkState::kDown) {
      add("it may be stale: the source cannot be reached" +
          (syncer_.tree_listed_at_s == 0
               ? "; what is shown is of an earlier mount"
               : "; the tree was last listed at " + local_time(syncer_.tree_listed_at_s)));
    } else if (syncer_.directories_every_ms == 0 && syncer_.tree_every_ms == 0) {
      add("it may be stale: polling is off (poll=off), rsyncfs refresh asks the source");
    } else if (syncer_.tree_every_ms > kStaleAfterMs) {
      add("it may be stale while nobody uses its directory: the tree is looked at every " +
          duration_text(static_cast<int64_t>(syncer_.tree_every_ms / 1000)));
    }
  }

  const PathInfo& info_;
  const PathSurroundings& around_;
  const SyncerStatus& syncer_;
  std::vector<std::string> out_;
};

}  // namespace

std::vector<std::string> path_reasons(const PathInfo& info, const PathSurroundings& around) {
  return Reasons(info, around).all();
}

}  // namespace rsyncfs
