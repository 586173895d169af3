// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/source_options.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sync/transport/bandwidth_limit.h"

namespace rsyncfs {
namespace {

// What may lie unread in a socket: what the user says, but no more than the limit of the rate is good for.
uint32_t unread_bytes(const MountOptions& given) {
  uint32_t bytes = unread_bytes_at(given.bytes_per_second);
  for (const SocketOption& option : given.sockopts) {
    if (option.level != SOL_SOCKET || option.name != SO_RCVBUF || option.value <= 0) continue;
    const auto wanted = static_cast<uint32_t>(option.value);
    bytes = bytes == 0 ? wanted : std::min(bytes, wanted);
  }
  return bytes;
}

}  // namespace

// They were checked one by one when they were given.
FilterRules filter_rules_of(const MountOptions& given) {
  Result<FilterRules> rules = FilterRules::parse(given.filters);
  return rules ? std::move(*rules) : FilterRules();
}

SyncerOptions source_options(const MountOptions& given) {
  SyncerOptions options;
  options.remote_shell = given.remote_shell;
  options.rsync_path = given.rsync_path;
  options.timeout = given.timeout;
  options.connect_timeout = given.connect_timeout;
  options.max_protocol = given.protocol;
  options.bytes_per_second = given.bytes_per_second;
  options.tcp = {given.family, given.address, given.sockopts, unread_bytes(given)};
  options.xattrs = given.xattrs;
  options.acls = given.acls;
  options.numeric_ids = given.numeric_ids;
  options.user_rules = given.user_rules;
  options.group_rules = given.group_rules;
  // As with rsync a level means that something is to be compressed, and zlib's 0 that nothing is.
  options.compress_level = given.compress_level.value_or(0);
  options.compress = !given.compress.empty() ? given.compress : given.compress_level ? "zstd" : "none";
  if (options.compress == "zlibx" && given.compress_level == 0) options.compress = "none";
  options.checksum = given.checksum_choice;
  options.filters = given.filters;
  options.filter_rules = filter_rules_of(given);
  options.max_sessions = given.max_sessions;
  options.fsync_remote = given.fsync_remote;
  return options;
}

}  // namespace rsyncfs
