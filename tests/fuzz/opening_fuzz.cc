// SPDX-License-Identifier: GPL-3.0-or-later
// Greetings, logins, flags and negotiation: the first byte chooses the configuration.
#include "tests/fuzz/fuzz_session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  rsyncfs::PullConfig config;
  config.peer = (data[0] & 1) != 0 ? rsyncfs::PeerKind::kShell : rsyncfs::PeerKind::kDaemon;
  config.module = "m";
  if ((data[0] & 2) != 0) {
    config.user = "user";
    config.password = "password";
  }
  config.max_protocol = 30 + (data[0] >> 2 & 3) % 3;
  if ((data[0] & 16) != 0) config.compression = rsyncfs::CompressionKind::kZstd;
  if ((data[0] & 32) != 0) config.checksum = rsyncfs::ChecksumKind::kMd5;
  if ((data[0] & 64) != 0) config.taken_for = rsyncfs::ServerAbilities{.negotiates = (data[0] & 32) == 0};
  if ((data[0] & 128) != 0) config.paths = {"a/", "b"};
  if ((data[0] & 128) != 0 && (data[0] & 64) != 0) config.first_request = rsyncfs::FirstRequest{.ndx = 1};
  rsyncfs::fuzz::Client client(config);
  client.feed(std::as_bytes(std::span(data + 1, size - 1)), 3);
  client.end();
  return 0;
}
