// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/pull_arguments.h"

#include "sync/rsync/server_arguments.h"

namespace rsyncfs {

namespace {

constexpr size_t kMaxPath = 4095;
constexpr size_t kMaxFilter = 4000;

void add_option_bundle(const PullConfig& config, std::vector<std::string>& out) {
  std::string bundle = "-l";
  if (config.hard_links) bundle += 'H';
  bundle += "ogDtp";
  if (config.acls) bundle += 'A';
  if (config.xattrs) bundle += 'X';
  bundle += config.paths.empty() ? "r" : "dR";
  if (config.compression == CompressionKind::kZstd) bundle += 'z';
  bundle += config.paged ? kPagingCapabilities : kCapabilities;
  out.push_back(std::move(bundle));
}

std::vector<std::string> common_arguments(const PullConfig& config) {
  std::vector<std::string> out = {"--server", "--sender"};
  add_option_bundle(config, out);
  add_common_options(config, out);
  if (!config.paths.empty()) {
    if (config.report_missing) out.emplace_back("--delete-missing-args");
    out.emplace_back("--files-from=-");
    out.emplace_back("--from0");
  }
  out.insert(out.end(), config.extra_args.begin(), config.extra_args.end());
  out.emplace_back(".");
  return out;
}

}  // namespace

Result<void> validate_pull_config(const PullConfig& config) {
  if (auto valid = validate_session_config(config); !valid.ok()) return valid;
  constexpr std::string_view kNul("\0", 1);
  constexpr std::string_view kLineEnds("\0\r\n", 3);
  if (config.paged && !config.paths.empty()) return Error(Errc::kUsage, "pages are of a whole tree");
  for (const std::string& path : config.paths) {
    if (path.find_first_of(kNul) != std::string::npos || config.root.size() + path.size() > kMaxPath - 3)
      return Error(Errc::kUsage, "not a path");
  }
  if (config.first_request && config.first_request->offset > kMaxAppendOffset)
    return Error(Errc::kUsage, "no append stream begins so deep in a file");
  for (const std::string& filter : config.filters) {
    if (filter.empty() || filter.find_first_of(kLineEnds) != std::string::npos || filter.size() > kMaxFilter)
      return Error(Errc::kUsage, "not a filter rule");
  }
  return {};
}

std::vector<std::string> daemon_arguments(const PullConfig& config) {
  std::vector<std::string> out = common_arguments(config);
  // An unchrooted 3.5.0 daemon given a directory and names to find in it opens the names in the module's top
  // directory. So the directory goes into the names.
  out.push_back(daemon_path(config.module, config.paths.empty() ? config.root : std::string()));
  return out;
}

std::vector<std::string> shell_arguments(const PullConfig& config) {
  std::vector<std::string> out = common_arguments(config);
  if (config.messages_in_band) out.insert(out.end() - 1, "--no-msgs2stderr");
  out.push_back(shell_path(config.root));
  return out;
}

std::string files_from_data(const PullConfig& config) {
  std::string prefix;  // "ROOT/./NAME" is NAME seen from ROOT
  if (config.peer == PeerKind::kDaemon && !config.root.empty()) prefix = config.root + "/./";
  std::string out;
  for (const std::string& path : config.paths) {
    out += prefix;
    // An empty name would end the list.
    out += path.empty() ? "." : path;
    out += '\0';
  }
  out += '\0';
  return out;
}

}  // namespace rsyncfs
