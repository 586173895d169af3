// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/push_arguments.h"

#include <algorithm>

#include "sync/rsync/server_arguments.h"

namespace rsyncfs {

namespace {

bool is_contents(PushKind kind) {
  return kind == PushKind::kData || kind == PushKind::kWholeData || kind == PushKind::kAppend;
}
bool removes(PushKind kind) {
  return kind == PushKind::kMove || kind == PushKind::kDelete;
}

// Of what is there already, or compares them.
bool sets_attributes(PushKind kind) {
  return kind == PushKind::kAttributes || kind == PushKind::kCreate || kind == PushKind::kLink;
}

// Attributes of a removed entry are nobody's; those of a link are what it is recognised by.
void add_option_bundle(const PushConfig& config, std::vector<std::string>& out) {
  const PushKind kind = config.kind;
  std::string bundle = "-";
  if (!config.backup_dir.empty() || !config.suffix.empty()) bundle += 'b';
  if (!removes(kind) && kind != PushKind::kLink) bundle += 'l';
  if (kind == PushKind::kWholeData) bundle += 'W';
  if (kind == PushKind::kLink) bundle += 'H';
  if (config.owner) bundle += "og";
  if (pushes_devices(kind)) bundle += 'D';
  bundle += 't';
  if (!removes(kind)) bundle += 'p';
  if (config.acls) bundle += 'A';
  if (config.xattrs) bundle += 'X';
  if (kind == PushKind::kData || kind == PushKind::kWholeData) bundle += 'I';
  bundle += 'R';
  if (config.exact) bundle += 'm';
  if (config.compression == CompressionKind::kZstd) bundle += 'z';
  bundle += kCapabilities;
  out.push_back(std::move(bundle));
}

// `path` without empty and "." components, each ".." taking back what is before it; those that are left over
// stand in front.
std::string lexical_path(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) out.append(out.empty() ? "" : "/").append(part);
  return out;
}

// From the module's top or the host's; from wherever the remote shell begins if root is relative.
std::string resolved_backup_dir(const PushConfig& config) {
  const bool absolute = config.backup_dir.starts_with('/');
  return lexical_path(absolute ? config.backup_dir : config.root + "/" + config.backup_dir);
}

// As the server takes it. A daemon cuts a path with ".." short, so it gets it from the module's top.
std::string backup_path(const PushConfig& config) {
  if (config.peer == PeerKind::kDaemon || config.anchored) return "/" + resolved_backup_dir(config);
  return (config.backup_dir.starts_with('/') ? "/" : "") + lexical_path(config.backup_dir);
}

// A daemon takes backslashes out of its options.
std::string option_value(const PushConfig& config, std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' && config.peer == PeerKind::kDaemon) out += '\\';
    out += c;
  }
  return out;
}

void add_kind_options(const PushConfig& config, std::vector<std::string>& out) {
  if (config.block_length != 0) add_number(out, "-B", static_cast<int>(config.block_length));
  if (!config.backup_dir.empty()) {
    out.insert(out.end(), {"--backup-dir", option_value(config, backup_path(config))});
  }
  if (!config.suffix.empty()) out.push_back("--suffix=" + option_value(config, config.suffix));
  if (config.max_delete > 0) add_number(out, "--max-delete=", config.max_delete);
  if (config.force || config.exact) out.emplace_back("--force");
  if (config.kind == PushKind::kAttributes) out.emplace_back("--size-only");
  // Otherwise times that differ only by nanoseconds are equal. The short form, which clients use, is too new
  // for some servers, and for rrsync.
  if (sets_attributes(config.kind) && config.max_protocol >= 31) out.emplace_back("--modify-window=-1");
  if (removes(config.kind)) out.emplace_back("--delete-missing-args");
  if (config.only_missing) out.emplace_back("--ignore-existing");
  if (config.only_existing) out.emplace_back("--existing");
  if (is_contents(config.kind) && config.fsync) out.emplace_back("--fsync");
  if (config.kind == PushKind::kAppend) out.emplace_back("--append");
  out.emplace_back("--no-implied-dirs");
  if (!removes(config.kind) && config.acknowledge)
    out.emplace_back("--remove-source-files");  // makes it acknowledge; removes nothing
}

std::vector<std::string> common_arguments(const PushConfig& config) {
  std::vector<std::string> out = {"--server"};
  add_option_bundle(config, out);
  if (config.peer == PeerKind::kShell && config.messages_in_band) out.emplace_back("--no-msgs2stderr");
  add_common_options(config, out);
  add_kind_options(config, out);
  out.insert(out.end(), config.extra_args.begin(), config.extra_args.end());
  out.emplace_back(".");
  return out;
}

Error usage(const char* message) {
  return Error(Errc::kUsage, message);
}

// A server makes the directory that it is given; but not one that is in one that is not there (main.c,
// get_local_name()). What is gone, as where a disk is not mounted, is not to be begun anew.
std::string existing(const PushConfig& config, std::string path) {
  return clean_root(config.root).empty() ? path : path + ".";
}

bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

// A server that is told of its own directory makes no backups: what is to be moved would be removed.
bool valid_backup_dir(const PushConfig& config) {
  constexpr size_t kMaxBackupDir = 3900;  // options.c leaves room for a name
  const std::string path = backup_path(config);
  const bool leaves_module = config.peer == PeerKind::kDaemon && path.starts_with("/..");
  return resolved_backup_dir(config) != lexical_path(config.root) && path.size() <= kMaxBackupDir &&
         !has_nul(path) && !leaves_module;
}

}  // namespace

bool pushes_devices(PushKind kind) {
  return kind == PushKind::kCreate || kind == PushKind::kAttributes;
}

Result<void> validate_push_config(const PushConfig& config) {
  if (auto valid = validate_session_config(config); !valid.ok()) return valid;
  if (config.block_length > kMaxBlockLength) return usage("the block length is too large");
  if (config.kind == PushKind::kMove && config.backup_dir.empty()) return usage("nowhere to move to");
  if (!config.backup_dir.empty() && !valid_backup_dir(config)) return usage("not a backup directory");
  if (has_nul(config.suffix) || config.suffix.find('/') != std::string::npos) return usage("not a suffix");
  if (config.exact && (config.kind != PushKind::kDelete || config.force || !config.backup_dir.empty()))
    return usage("only what is removed for good is removed exactly");
  if (config.max_delete < 0) return usage("not a number of deletions");
  if ((config.acls || config.xattrs) && removes(config.kind))
    return usage("what is removed has no attributes");
  return {};
}

std::vector<std::string> daemon_arguments(const PushConfig& config) {
  std::vector<std::string> out = common_arguments(config);
  out.push_back(existing(config, daemon_path(config.module, config.root)));
  return out;
}

std::vector<std::string> shell_arguments(const PushConfig& config) {
  std::vector<std::string> out = common_arguments(config);
  out.push_back(existing(config, shell_path(config.root)));
  return out;
}

}  // namespace rsyncfs
