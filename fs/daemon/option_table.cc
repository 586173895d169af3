// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/stat.h>

#include <array>
#include <utility>

#include "fs/daemon/option_values.h"
#include "fs/daemon/options.h"

namespace rsyncfs {
namespace {

using Options = MountOptions;
using Value = std::string_view;

// Stores a parsed value, or hands its failure on.
template <class T, class Field>
Result<void> store(Result<T> parsed, Field& field) {
  if (!parsed) return parsed.error();
  field = static_cast<Field>(std::move(parsed.value()));
  return {};
}
template <class T, class Inner>
Result<void> store(Result<T> parsed, std::optional<Inner>& field) {
  if (!parsed) return parsed.error();
  field = static_cast<Inner>(std::move(parsed.value()));
  return {};
}

template <auto Field, bool Setting>
Result<void> set(Options& options, Value /*value*/) {
  options.*Field = Setting;
  return {};
}

Result<void> accept(Options& /*options*/, Value /*value*/) {
  return {};
}

Result<void> add_filter(Options& options, std::string_view prefix, Value rule) {
  if (rule.empty()) return Error(Errc::kUsage, "a pattern is needed");
  // Of exclude= and include= too: what begins like a rule is one.
  const bool is_rule = rule.starts_with("- ") || rule.starts_with("+ ") || rule == "!";
  std::string text = (is_rule ? "" : std::string(prefix)) + std::string(rule);
  if (const auto parsed = FilterRules::parse(std::span(&text, 1)); !parsed) return parsed.error();
  options.filters.push_back(std::move(text));
  return {};
}

Result<void> set_seconds(std::chrono::seconds& field, Value value) {
  constexpr uint64_t kLongest = 86'400;
  const Result<uint64_t> parsed = parse_number(value, 1, kLongest);
  if (!parsed) return parsed.error();
  field = std::chrono::seconds(*parsed);
  return {};
}

Result<void> set_text(std::string& field, Value value) {
  if (value.empty()) return Error(Errc::kUsage, "a value is needed");
  field = value;
  return {};
}

Result<IoChoice> parse_engine(Value value) {
  const Result<std::string> word = parse_word(value, {"auto", "uring", "threads"});
  if (!word) return word.error();
  if (*word == "auto") return IoChoice::kAuto;
  return *word == "uring" ? IoChoice::kUring : IoChoice::kThreads;
}

Result<OpenProfile> parse_profile(Value value) {
  const Result<std::string> word = parse_word(value, {"auto", "small", "large"});
  if (!word) return word.error();
  return *word == "large" ? OpenProfile::kPassthrough : OpenProfile::kNoOpen;
}

constexpr OptionSpec kSource[] = {
    {"password_file", "FILE", "read the daemon password from the first line of FILE ('-': standard input)",
     [](Options& o, Value v) { return set_text(o.password_file, v); }},
    {"rsh", "COMMAND", "remote shell for host:path sources (default: $RSYNC_RSH, or ssh)",
     [](Options& o, Value v) { return set_text(o.remote_shell, v); }},
    {"rsync_path", "PROGRAM", "rsync on the far side of the remote shell (default: rsync)",
     [](Options& o, Value v) { return set_text(o.rsync_path, v); }},
    {"port", "PORT", "port of the daemon or of the remote shell, where the source names none",
     [](Options& o, Value v) { return store(parse_number(v, 1, 65535), o.port); }},
    {"address", "ADDRESS", "connect to the daemon from this address of ours, as rsync --address",
     [](Options& o, Value v) { return store(parse_own_address(v), o.address); }},
    {"ipv4", "", "connect by IPv4 only, as rsync -4 (also ssh)",
     [](Options& o, Value) {
       o.family = AF_INET;
       return Result<void>();
     }},
    {"ipv6", "", "connect by IPv6 only, as rsync -6 (also ssh)",
     [](Options& o, Value) {
       o.family = AF_INET6;
       return Result<void>();
     }},
    {"sockopts", "OPTIONS", "options of the sockets to the daemon, as rsync --sockopts: SO_SNDBUF=65536 ...",
     [](Options& o, Value v) { return store(parse_socket_options(v), o.sockopts); }},
    {"bwlimit", "RATE",
     "at most so much each way, as rsync --bwlimit: KiB a second, or 1.5m; 0: no limit (default)",
     [](Options& o, Value v) { return store(parse_bandwidth(v), o.bytes_per_second); }},
    {"timeout", "SECONDS", "fail a request after so long without progress (default: 30)",
     [](Options& o, Value v) { return set_seconds(o.timeout, v); }},
    {"contimeout", "SECONDS", "give one connection attempt so long (default: 10)",
     [](Options& o, Value v) { return set_seconds(o.connect_timeout, v); }},
    {"request_timeout", "SECONDS",
     "the kernel gives up after so long without an answer; 0: never (default: 3600; 0 with fsync=remote)",
     [](Options& o, Value v) {
       constexpr uint64_t kLongest = 65'535;
       const Result<uint64_t> parsed = parse_number(v, 0, kLongest);
       if (!parsed) return Result<void>(parsed.error());
       o.request_timeout = std::chrono::seconds(*parsed);
       return Result<void>();
     }},
    {"compress", "CODEC", "compress contents both ways: auto or zstd, zlibx, none (default: none)",
     [](Options& o, Value v) { return store(parse_compression(v), o.compress); }},
    {"compress_choice", "CODEC", "the same, by rsync's name for it",
     [](Options& o, Value v) { return store(parse_compression(v), o.compress); }},
    {"compress_level", "NUMBER", "how hard, as rsync --compress-level: zstd -131072 to 22, zlibx 1 to 9",
     [](Options& o, Value v) { return store(parse_compression_level(v), o.compress_level); }},
    {"checksum_choice", "NAME", "file digests: auto, xxh128, xxh3, xxh64, md5 or md4 (default: auto)",
     [](Options& o, Value v) {
       Result<void> stored =
           store(parse_word(v, {"auto", "xxh128", "xxh3", "xxh64", "md5", "md4"}), o.checksum_choice);
       if (o.checksum_choice == "auto") o.checksum_choice.clear();
       return stored;
     }},
    {"protocol", "NUMBER", "speak at most this rsync protocol: 30, 31 or 32 (default: 32)",
     [](Options& o, Value v) { return store(parse_number(v, 30, 32), o.protocol); }},
    {"max_sessions", "NUMBER", "connections side by side (default: 8)",
     [](Options& o, Value v) { return store(parse_number(v, 1, 64), o.max_sessions); }},
    {"poll", "WHEN", "look for changes: auto, off, or SECONDS (tree: ten times less often; default: auto)",
     [](Options& o, Value v) { return store(parse_poll(v), o.poll); }},
    {"exclude", "PATTERN", "leave out what matches, as rsync --exclude; repeatable",
     [](Options& o, Value v) { return add_filter(o, "- ", v); }},
    {"include", "PATTERN", "do not leave out what matches, as rsync --include; repeatable",
     [](Options& o, Value v) { return add_filter(o, "+ ", v); }},
    {"filter", "RULE", "add a filter rule, as rsync --filter; repeatable",
     [](Options& o, Value v) { return add_filter(o, "", v); }},
};

constexpr OptionSpec kShown[] = {
    {"numeric_ids", "", "show the source's user and group numbers without looking at their names",
     set<&Options::numeric_ids, true>},
    {"xattrs", "", "show extended attributes (default)", set<&Options::xattrs, true>},
    {"noxattrs", "", "do not ask for extended attributes", set<&Options::xattrs, false>},
    {"acls", "", "show POSIX ACLs (default)", set<&Options::acls, true>},
    {"noacls", "", "do not ask for ACLs", set<&Options::acls, false>},
    {"chmod", "CHANGES", "change the modes that are shown, as rsync --chmod: D755,F644 or go-w; repeatable",
     [](Options& o, Value v) {
       const mode_t mask = umask(0);
       umask(mask);
       return o.mode_changes.add(v, mask);
     }},
    {"usermap", "MAP", "show users of the source as others, as rsync --usermap: 0-99:nobody,joe:ann,*:guest",
     [](Options& o, Value v) { return store(parse_user_rules(v), o.user_rules); }},
    {"groupmap", "MAP", "show groups of the source as others, as rsync --groupmap",
     [](Options& o, Value v) { return store(parse_group_rules(v), o.group_rules); }},
    {"uid", "USER", "show everything as owned by USER",
     [](Options& o, Value v) { return store(parse_user(v), o.uid); }},
    {"gid", "GROUP", "show everything as of group GROUP",
     [](Options& o, Value v) { return store(parse_group(v), o.gid); }},
    {"umask", "OCTAL", "permission bits that nothing shows",
     [](Options& o, Value v) {
       const Result<void> stored = store(parse_octal_mask(v), o.file_mask);
       return stored ? store(parse_octal_mask(v), o.directory_mask) : stored;
     }},
    {"fmask", "OCTAL", "permission bits that no file shows",
     [](Options& o, Value v) { return store(parse_octal_mask(v), o.file_mask); }},
    {"dmask", "OCTAL", "permission bits that no directory shows",
     [](Options& o, Value v) { return store(parse_octal_mask(v), o.directory_mask); }},
};

Result<void> add_conflict_rule(Options& options, Value value) {
  Result<ConflictRule> rule = parse_conflict_rule(value);
  if (!rule) return rule.error();
  options.conflict_rules.push_back(std::move(rule.value()));
  return {};
}

constexpr std::chrono::seconds kLongestWritebackDelay{3'600};
constexpr uint64_t kMostDeletions = 1'000'000'000;

constexpr OptionSpec kWriting[] = {
    {"rw", "", "read-write (default); where it is given, changes are kept here though the source takes none",
     set<&Options::read_write, true>},
    {"ro", "", "read-only", set<&Options::read_write, false>},
    {"fsync", "WHERE",
     "fsync(2) waits for the disk of this side (local) or of the source (remote); default: local",
     [](Options& o, Value v) {
       const Result<std::string> word = parse_word(v, {"local", "remote"});
       if (word) o.fsync_remote = *word == "remote";
       return word ? Result<void>() : word.error();
     }},
    {"writeback_delay", "SECONDS", "send a changed file when it was left alone so long (default: 1)",
     [](Options& o, Value v) { return store(parse_duration(v, kLongestWritebackDelay), o.writeback_delay); }},
    {"conflict", "POLICY",
     "of a name changed on both sides: copy (keep both), local or remote wins (default: copy)",
     [](Options& o, Value v) { return store(parse_conflict_policy(v), o.conflict); }},
    {"conflict_rule", "RULE",
     "PATTERN:POLICY, another policy for what matches, as '*.log:remote'; repeatable", add_conflict_rule},
    {"max_delete", "NUMBER",
     "stop and ask before more deletions at once are sent; 0: any number (default: 10000)",
     [](Options& o, Value v) { return store(parse_number(v, 0, kMostDeletions), o.max_delete); }},
};

constexpr OptionSpec kMount[] = {
    {"allow_other", "", "let all users in; the permissions shown are checked",
     set<&Options::allow_other, true>},
    {"profile", "WHAT",
     "small, or large: the kernel reads large files by itself, each open asks us (default: auto, small now)",
     [](Options& o, Value v) { return store(parse_profile(v), o.profile); }},
    {"fuse_uring", "CHOICE",
     "yes: the kernel's requests come by io_uring, if it and this build can; or no (default: no)",
     [](Options& o, Value v) {
       const Result<std::string> word = parse_word(v, {"yes", "no"});
       if (word) o.fuse_uring = *word == "yes";
       return word ? Result<void>() : word.error();
     }},
    {"default_permissions", "", "have the kernel check permissions (always so)", accept},
    {"auto_unmount", "", "unmount when the daemon dies", set<&Options::auto_unmount, true>},
    {"nonempty", "", "accepted: a directory with contents may be mounted over anyway", accept},
    {"sloppy", "", "drop unknown options that come after this one (mount -s)", set<&Options::sloppy, true>},
    {"suid", "", "honour set-user-id bits (root only; default: nosuid)", set<&Options::suid, true>},
    {"nosuid", "", "ignore set-user-id bits (default)", set<&Options::suid, false>},
    {"dev", "", "honour device files (root only; default: nodev)", set<&Options::dev, true>},
    {"nodev", "", "ignore device files (default)", set<&Options::dev, false>},
    {"exec", "", "allow programs to be run (default)", set<&Options::exec, true>},
    {"noexec", "", "do not allow programs to be run", set<&Options::exec, false>},
    {"fsname", "NAME", "first column of mount tables (default: SOURCE)",
     [](Options& o, Value v) { return set_text(o.fsname, v); }},
    {"subtype", "NAME", "type shown as fuse.NAME (default: rsyncfs)",
     [](Options& o, Value v) { return set_text(o.subtype, v); }},
};

constexpr OptionSpec kLocal[] = {
    {"store", "DIR", "keep what was fetched in DIR (default: below the state directory)",
     [](Options& o, Value v) { return set_text(o.store, v); }},
    {"cache_size", "SIZE",
     "let contents take so much disk, as 500M, 2G or 20% of the file system (default: no limit)",
     [](Options& o, Value v) { return store(parse_disk_amount(v, kMinCacheBytes), o.cache_size); }},
    {"min_free", "SIZE",
     "leave so much of the store's file system free, as 2G or 5%; 0: none (default: 5%, at most 10G)",
     [](Options& o, Value v) { return store(parse_disk_amount(v, 0), o.min_free); }},
    {"io", "ENGINE", "auto, uring or threads (default: auto)",
     [](Options& o, Value v) { return store(parse_engine(v), o.io); }},
    {"log_file", "FILE", "log there, or to syslog (default: to a file in the store; standard error with -f)",
     [](Options& o, Value v) { return set_text(o.log_file, v); }},
    {"log_level", "LEVEL", "trace, debug, info, warning or error (default: info; warning with -f)",
     [](Options& o, Value v) { return store(parse_log_level(v), o.log_level); }},
    {"metrics", "WHERE",
     "serve metrics to Prometheus: at PORT or [::1]:PORT of this machine, or at a socket",
     [](Options& o, Value v) { return store(parse_metrics_address(v), o.metrics); }},
    {"metrics_mode", "OCTAL", "permissions of that socket (default: 0600)",
     [](Options& o, Value v) { return store(parse_octal_mask(v), o.metrics_mode); }},
};

// What fstab lines and mount(8) carry; they are for others, or say what is so anyway.
constexpr OptionSpec kDropped[] = {
    {"_netdev", "", "", accept},    {"nofail", "", "", accept},      {"auto", "", "", accept},
    {"noauto", "", "", accept},     {"user", "", "", accept},        {"nouser", "", "", accept},
    {"users", "", "", accept},      {"owner", "", "", accept},       {"group", "", "", accept},
    {"defaults", "", "", accept},   {"async", "", "", accept},       {"sync", "", "", accept},
    {"dirsync", "", "", accept},    {"atime", "", "", accept},       {"noatime", "", "", accept},
    {"diratime", "", "", accept},   {"nodiratime", "", "", accept},  {"relatime", "", "", accept},
    {"norelatime", "", "", accept}, {"strictatime", "", "", accept}, {"nostrictatime", "", "", accept},
    {"lazytime", "", "", accept},   {"nolazytime", "", "", accept},  {"silent", "", "", accept},
    {"loud", "", "", accept},       {"comment", "TEXT", "", accept},
};

constexpr OptionGroup kGroups[] = {
    {"The source", kSource}, {"What is shown", kShown},
    {"Writing", kWriting},   {"The mount", kMount},
    {"This side", kLocal},   {"Accepted for fstab and mount(8), without effect (x-* too)", kDropped},
};

}  // namespace

std::span<const OptionGroup> option_groups() {
  return kGroups;
}

}  // namespace rsyncfs
