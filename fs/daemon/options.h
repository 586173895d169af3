// SPDX-License-Identifier: GPL-3.0-or-later
// The mount options: one table for `-o NAME=VALUE`, for `--NAME=VALUE`, for --help and for the mount helper.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/daemon/metrics_address.h"
#include "fs/daemon/option_values.h"
#include "fs/fuse/open_profile.h"
#include "fs/tree/mode_changes.h"
#include "io/base/log.h"
#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/conflict_policy.h"
#include "sync/engine/filter_rules.h"
#include "sync/engine/id_rules.h"
#include "sync/engine/poll_pace.h"
#include "sync/transport/tcp_options.h"

namespace rsyncfs {

// Deletions at once that are taken for an accident unless max_delete= says otherwise.
constexpr uint64_t kDefaultMaxDelete = 10'000;

// A smaller cache could not be kept within 5 %: space is allocated some at a time.
constexpr uint64_t kMinCacheBytes = 16 << 20;
// What is left free unless min_free= says otherwise.
constexpr double kDefaultMinFreePercent = 5;
constexpr uint64_t kDefaultMinFreeMost = 10ULL << 30U;

// As log_file=: syslog(3).
constexpr std::string_view kSystemLog = "syslog";

// What the user asked for. Plain data; the defaults are the defaults of the options.
struct MountOptions {
  // What the kernel is told.
  bool allow_other = false;
  bool auto_unmount = false;
  bool suid = false;
  bool dev = false;
  bool exec = true;
  OpenProfile profile = OpenProfile::kNoOpen;
  bool fuse_uring = false;
  bool sloppy = false;             // from here on, options that nobody knows are dropped
  std::optional<bool> read_write;  // rw or ro was given
  std::string fsname;              // "" = SOURCE as typed
  std::string subtype = "rsyncfs";

  // What stat(2) shows instead of the source's own.
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<uint32_t> file_mask;       // bits that no file shows
  std::optional<uint32_t> directory_mask;  // bits that no directory shows
  ModeChanges mode_changes;
  IdRules user_rules;
  IdRules group_rules;

  // The source and the way to it.
  std::string password_file;  // "-" = standard input
  std::string remote_shell;
  std::string rsync_path = "rsync";
  uint16_t port = 0;  // 0 = the scheme's
  std::chrono::seconds timeout{30};
  std::chrono::seconds connect_timeout{10};
  std::optional<std::chrono::seconds> request_timeout;  // of the kernel, for one request; 0 = none
  uint64_t bytes_per_second = 0;                        // 0 = no limit
  std::vector<SocketOption> sockopts;
  std::optional<Address> address;
  sa_family_t family = AF_UNSPEC;
  std::string compress;  // "" = not said
  std::optional<int> compress_level;
  std::string checksum_choice;  // "" = negotiated
  bool numeric_ids = false;
  bool xattrs = true;
  bool acls = true;
  std::vector<std::string> filters;  // rsync rules, "- *.o"
  int protocol = 32;
  unsigned max_sessions = 8;

  // Writing.
  bool fsync_remote = false;  // fsync(2) waits until the source has it on its disk
  std::chrono::milliseconds writeback_delay{1'000};
  ConflictPolicy conflict = ConflictPolicy::kCopy;
  std::vector<ConflictRule> conflict_rules;
  PollOptions poll;
  uint64_t max_delete = kDefaultMaxDelete;  // 0 = any number

  // This side.
  std::string store;  // "" = below the state directory
  std::optional<DiskAmount> cache_size;
  std::optional<DiskAmount> min_free;
  IoChoice io = IoChoice::kAuto;
  std::string log_file;
  std::optional<LogLevel> log_level;
  MetricsAddress metrics;
  uint32_t metrics_mode = 0600;  // of the socket
};

struct OptionSpec {
  std::string_view name;      // written with '_'; '-' is the same to users
  std::string_view argument;  // what --help calls its value; "" = takes none
  std::string_view help;      // "" = accepted for fstab's sake and without effect here
  // `value` is "" for options without argument. kUsage, the message saying what is accepted.
  Result<void> (*parse)(MountOptions& options, std::string_view value);
};

// A title of --help and its options.
struct OptionGroup {
  std::string_view title;
  std::span<const OptionSpec> options;
};
std::span<const OptionGroup> option_groups();

// Lower-level lookup: '-' and '_' are equal; x-* and X-* names are found too. Null if there is no such
// option.
const OptionSpec* find_option(std::string_view name);
// The known name that resembles it most; "" if none does.
std::string nearest_option(std::string_view name);

// kUsage, with a line that names the option, and the nearest known one if it is unknown.
Result<void> apply_option(MountOptions& options, std::string_view name,
                          std::optional<std::string_view> value);

// "a,b=c,d=x\,y" as its items: `\,` is a comma and `\\` a backslash; empty items are dropped.
std::vector<std::string> split_option_list(std::string_view list);
// The reverse: items joined so that split_option_list() gives them back.
std::string join_option_list(std::span<const std::string> items);
Result<void> apply_option_list(MountOptions& options, std::string_view list);

}  // namespace rsyncfs
