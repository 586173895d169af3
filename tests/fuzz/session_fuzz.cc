// SPDX-License-Identifier: GPL-3.0-or-later
// Everything after a valid opening and list: replies, messages, goodbyes, as frames. The first byte chooses
// what was asked for.
#include "tests/fuzz/fuzz_session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  rsyncfs::PullConfig config;
  config.peer = rsyncfs::PeerKind::kShell;
  config.numeric_ids = true;
  config.hard_links = config.acls = false;
  config.xattrs = (data[0] & 64) != 0;
  if ((data[0] & 128) != 0) config.extra_args = {"--append"};
  const bool compressed = (data[0] & 1) != 0;
  if (compressed) config.compression = rsyncfs::CompressionKind::kZstd;
  rsyncfs::fuzz::Client client(config);
  client.finish_when_idle = (data[0] & 2) != 0;
  RSYNCFS_CHECK(client.feed(rsyncfs::fuzz::opening_and_list(compressed, config.xattrs), 100'000));
  RSYNCFS_CHECK(client.session().state() == rsyncfs::PullState::kArmed);
  client.feed(std::as_bytes(std::span(data + 1, size - 1)), (data[0] >> 2 & 15) + size_t{1});
  client.end();
  return 0;
}
