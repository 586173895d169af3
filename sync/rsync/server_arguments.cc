// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/server_arguments.h"

#include <algorithm>

namespace rsyncfs {

namespace {

constexpr size_t kMaxPath = 4095;

// The daemon expands wildcards in a component that has any of *?[ and only there takes backslashes as
// escapes. An argument is also cut at " MODULE/": its blank then goes in brackets, which makes the component
// a wildcard.
std::string escape_component(std::string_view component, std::string_view module) {
  std::string cut = " ";
  cut += module;
  const bool cuts = component.ends_with(cut);
  if (!cuts && component.find_first_of("*?[") == std::string_view::npos) return std::string(component);
  std::string out;
  for (size_t i = 0; i < component.size(); ++i) {
    const char c = component[i];
    if (cuts && i == component.size() - cut.size()) {
      out += "[ ]";
      continue;
    }
    if (c == '*' || c == '?' || c == '[' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

Error usage(std::string message) {
  return Error(Errc::kUsage, std::move(message));
}

constexpr std::string_view kNul("\0", 1);
constexpr std::string_view kLineEnds("\0\r\n", 3);
bool has_any(std::string_view text, std::string_view any) {
  return text.find_first_of(any) != std::string_view::npos;
}

}  // namespace

void add_number(std::vector<std::string>& out, std::string_view option, int value) {
  out.push_back(std::string(option) + std::to_string(value));
}

Result<void> validate_session_config(const SessionConfig& config) {
  if (config.max_protocol < 30 || config.max_protocol > 32) return usage("the protocol must be 30, 31 or 32");
  if (config.peer == PeerKind::kDaemon) {
    if (config.module.empty() || config.module.starts_with('#') || has_any(config.module, "/") ||
        has_any(config.module, kLineEnds)) {
      return usage("not a module name: \"" + config.module + "\"");
    }
    if (has_any(config.user, " ") || has_any(config.user, kLineEnds)) return usage("not a user name");
  }
  if (has_any(config.root, kNul) || config.root.size() + config.module.size() > kMaxPath)
    return usage("not a path");
  for (const std::string& argument : config.extra_args) {
    if (argument.empty() || has_any(argument, kNul) || argument == ".") return usage("not a server option");
  }
  return {};
}

void clean_session_root(SessionConfig& config) {
  config.root = clean_root(config.root);
  if (config.peer == PeerKind::kDaemon && config.root.starts_with('/')) config.root.erase(0, 1);
}

void add_common_options(const SessionConfig& config, std::vector<std::string>& out) {
  if (config.compression == CompressionKind::kZlibx) out.emplace_back("--new-compress");
  if (config.compression != CompressionKind::kNone && config.compress_level != 0) {
    add_number(out, "--compress-level=", config.compress_level);
  }
  if (config.checksum) out.push_back("--checksum-choice=" + std::string(checksum_name(*config.checksum)));
  if (config.io_timeout_s > 0) add_number(out, "--timeout=", config.io_timeout_s);
  if (config.checksum_seed != 0) add_number(out, "--checksum-seed=", config.checksum_seed);
  if (config.numeric_ids) out.emplace_back("--numeric-ids");
}

std::string daemon_path(std::string_view module, std::string_view root) {
  std::string out(module);
  out += '/';
  // The daemon cuts "MODULE/" off and then looks for options.
  if (root.starts_with('-')) out += "./";
  while (!root.empty()) {
    const size_t slash = std::min(root.find('/'), root.size());
    out += escape_component(root.substr(0, slash), module);
    out += '/';
    root.remove_prefix(std::min(slash + 1, root.size()));
  }
  return out;
}

std::string clean_root(std::string_view root) {
  std::string out;
  if (root.starts_with('/')) out = "/";
  while (!root.empty()) {
    const size_t slash = std::min(root.find('/'), root.size());
    const std::string_view component = root.substr(0, slash);
    if (!component.empty() && component != ".") {
      if (!out.empty() && out != "/") out += '/';
      out += component;
    }
    root.remove_prefix(std::min(slash + 1, root.size()));
  }
  return out;
}

std::string shell_path(std::string_view root) {
  std::string path = clean_root(root);
  if (path.empty()) path = ".";
  if (path.starts_with('-')) path.insert(0, "./");
  if (!path.ends_with('/')) path += '/';
  return path;
}

}  // namespace rsyncfs
