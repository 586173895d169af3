// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of push sessions against real servers share: every kind of server with every protocol.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "tests/rsync/pull_testing.h"
#include "tests/support/blocking_push.h"
#include "tests/support/old_rsync.h"

namespace rsyncfs {

using support::BlockingPush;
using support::BlockingPushOptions;

struct PushPeer {
  PeerKind peer = PeerKind::kDaemon;
  int protocol = 32;
  bool old = false;  // the oldest rsync 3.2, over a pipe
};
inline void PrintTo(const PushPeer& peer, std::ostream* out) {
  *out << (peer.old ? "old" : peer.peer == PeerKind::kDaemon ? "daemon" : "pipe") << peer.protocol;
}

inline PushEntry file_entry(std::string path, uint64_t size, int64_t mtime_s = 1'600'000'000) {
  PushEntry entry;
  entry.path = std::move(path);
  entry.mode = S_IFREG | 0644;
  entry.size = size;
  entry.mtime_s = mtime_s;
  return entry;
}
inline PushEntry gone_entry(std::string path) {
  PushEntry entry;
  entry.path = std::move(path);
  return entry;
}

// A writable tree behind a server of the given kind.
class PushTarget {
 public:
  explicit PushTarget(PushPeer peer, support::DaemonParameters parameters = {}) : peer_(peer) {
    if (peer.peer != PeerKind::kDaemon) return;
    support::DaemonOptions options = RsyncDaemon::serving(tree_.path());
    options.modules[0].read_only = false;
    options.modules[0].parameters = std::move(parameters);
    daemon_.emplace(std::move(options));
  }

  const std::string& path() const { return tree_.path(); }
  std::string operator/(std::string_view name) const { return tree_ / name; }
  PushConfig config(PushKind kind) const {
    PushConfig config;
    config.kind = kind;
    config.peer = peer_.peer;
    config.module = "m";
    config.max_protocol = peer_.protocol;
    return config;
  }
  // config.root is relative to the tree.
  std::unique_ptr<BlockingPush> open(PushConfig config, BlockingPushOptions options = {}) {
    if (daemon_) return BlockingPush::over_tcp(daemon_->port(), std::move(config), std::move(options));
    config.root = config.root.empty() ? path() : path() + "/" + config.root;
    const std::string program = peer_.old ? support::require_old_rsync() : "rsync";
    return BlockingPush::over_pipe(program, std::move(config), std::move(options));
  }
  RsyncDaemon& daemon() { return *daemon_; }

 private:
  PushPeer peer_;
  TempDir tree_;
  std::optional<RsyncDaemon> daemon_;
};

inline struct stat stat_of(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) st.st_mode = 0;
  return st;
}

class PushInterop : public testing::TestWithParam<PushPeer> {
 protected:
  explicit PushInterop(support::DaemonParameters parameters = {})
      : target_(GetParam(), std::move(parameters)) {}
  PushTarget target_;
};

inline auto all_push_peers() {
  return testing::Values(PushPeer{PeerKind::kDaemon, 30}, PushPeer{PeerKind::kDaemon, 31},
                         PushPeer{PeerKind::kDaemon, 32}, PushPeer{PeerKind::kShell, 30},
                         PushPeer{PeerKind::kShell, 31}, PushPeer{PeerKind::kShell, 32},
                         PushPeer{PeerKind::kShell, 31, true});
}

}  // namespace rsyncfs
