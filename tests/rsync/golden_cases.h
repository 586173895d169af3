// SPDX-License-Identifier: GPL-3.0-or-later
// The conversations kept in golden/: what was asked of the real rsync, about which tree.
#pragma once

#include <string>
#include <vector>

#include "sync/rsync/pull_session.h"

namespace rsyncfs {

struct GoldenCase {
  std::string name;   // golden/NAME.bin is what the server sent
  PullConfig config;  // root, and the daemon's port, are the capturing program's
  bool without_v =
      false;           // the server was told of no 'v' capability and of protocol 31, as before rsync 3.2.0
  bool delta = false;  // "text" is asked for against golden_basis()
};

inline std::vector<GoldenCase> golden_cases() {
  PullConfig base;
  base.module = "m";
  base.checksum_seed = 4711;  // so that the requests, and with them the replies, are always the same
  std::vector<GoldenCase> cases;
  const auto add = [&](const std::string& name, PeerKind peer, int protocol) -> GoldenCase& {
    cases.push_back({name, base});
    cases.back().config.peer = peer;
    cases.back().config.max_protocol = protocol;
    return cases.back();
  };
  for (const int protocol : {30, 31, 32}) {
    add("daemon" + std::to_string(protocol), PeerKind::kDaemon, protocol);
    add("pipe" + std::to_string(protocol), PeerKind::kShell, protocol);
  }
  add("without_v", PeerKind::kShell, 31).without_v = true;
  add("paths", PeerKind::kDaemon, 32).config.paths = {"dir/", "text", "missing", "text"};
  add("numeric", PeerKind::kShell, 32).config.numeric_ids = true;
  GoldenCase& plain = add("delta_plain", PeerKind::kShell, 32);
  plain.delta = true;
  GoldenCase& zlibx = add("delta_zlibx", PeerKind::kShell, 32);
  zlibx.delta = true;
  zlibx.config.compression = CompressionKind::kZlibx;
  GoldenCase& zstd = add("delta_zstd", PeerKind::kShell, 32);
  zstd.delta = true;
  zstd.config.compression = CompressionKind::kZstd;
  GoldenCase& md5 = add("md5", PeerKind::kDaemon, 32);
  md5.config.checksum = ChecksumKind::kMd5;
  return cases;
}

// The same tree in pages.
inline std::vector<GoldenCase> golden_pages() {
  std::vector<GoldenCase> cases;
  for (const int protocol : {30, 31, 32}) {
    for (const PeerKind peer : {PeerKind::kDaemon, PeerKind::kShell}) {
      GoldenCase& golden = cases.emplace_back();
      golden.name = (peer == PeerKind::kDaemon ? "daemon_pages" : "pipe_pages") + std::to_string(protocol);
      golden.config.module = "m";
      golden.config.checksum_seed = 4711;
      golden.config.peer = peer;
      golden.config.max_protocol = protocol;
      golden.config.paged = true;
    }
  }
  return cases;
}

// "text" of the golden tree: numbered lines, so that deltas find their blocks.
inline std::string golden_text() {
  std::string text;
  for (int i = 0; i < 150; ++i) text += "line " + std::to_string(i) + " of the text\n";
  return text;
}

// An older version of it.
inline std::string golden_basis() {
  std::string text = golden_text();
  text.erase(800, 7);
  text.insert(2000, "something that is no longer there");
  return text.substr(0, text.size() - 100);
}

}  // namespace rsyncfs
