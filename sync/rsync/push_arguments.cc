// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/push_arguments.h"

#include "sync/rsync/server_arguments.h"

namespace rsyncfs {

namespace {

bool is_contents(PushKind kind) {
  return kind == PushKind::kData || kind == PushKind::kWholeData || kind == PushKind::kAppend;
}
bool removes(PushKind kind) {
  return kind == PushKind::kMove || kind == PushKind::kDelete;
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
  if (config.compression == CompressionKind::kZstd) bundle += 'z';
  bundle += kCapabilities;
  out.push_back(std::move(bundle));
}

void add_kind_options(const PushConfig& config, std::vector<std::string>& out) {
  if (config.block_length != 0) add_number(out, "-B", static_cast<int>(config.block_length));
  if (!config.backup_dir.empty()) out.insert(out.end(), {"--backup-dir", config.backup_dir});
  if (!config.suffix.empty()) out.push_back("--suffix=" + config.suffix);
  if (config.max_delete > 0) add_number(out, "--max-delete=", config.max_delete);
  if (config.force) out.emplace_back("--force");
  if (config.kind == PushKind::kAttributes) out.emplace_back("--size-only");
  if (removes(config.kind)) out.emplace_back("--delete-missing-args");
  if (config.only_missing) out.emplace_back("--ignore-existing");
  if (config.only_existing) out.emplace_back("--existing");
  if (is_contents(config.kind) && config.fsync) out.emplace_back("--fsync");
  if (config.kind == PushKind::kAppend) out.emplace_back("--append");
  out.emplace_back("--no-implied-dirs");
  if (!removes(config.kind))
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

bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

}  // namespace

bool pushes_devices(PushKind kind) {
  return kind == PushKind::kCreate || kind == PushKind::kAttributes;
}

Result<void> validate_push_config(const PushConfig& config) {
  if (auto valid = validate_session_config(config); !valid.ok()) return valid;
  if (config.block_length > kMaxBlockLength) return usage("the block length is too large");
  if (config.kind == PushKind::kMove && config.backup_dir.empty()) return usage("nowhere to move to");
  if (has_nul(config.backup_dir) || config.backup_dir.starts_with('-'))
    return usage("not a backup directory");
  if (has_nul(config.suffix) || config.suffix.find('/') != std::string::npos) return usage("not a suffix");
  if (config.max_delete < 0) return usage("not a number of deletions");
  if ((config.acls || config.xattrs) && removes(config.kind))
    return usage("what is removed has no attributes");
  return {};
}

std::vector<std::string> daemon_arguments(const PushConfig& config) {
  std::vector<std::string> out = common_arguments(config);
  out.push_back(daemon_path(config.module, config.root));
  return out;
}

std::vector<std::string> shell_arguments(const PushConfig& config) {
  std::vector<std::string> out = common_arguments(config);
  out.push_back(shell_path(config.root));
  return out;
}

}  // namespace rsyncfs
