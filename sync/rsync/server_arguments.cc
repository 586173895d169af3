// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/server_arguments.h"

namespace rsyncfs {

namespace {

// Symlink times, iconv of symlinks, safe lists, no xattr optimisation, seed order, in-place partials, varint
// flags with negotiation, names of id 0. Never 'i': an incremental list serves only its newest directories.
constexpr std::string_view kCapabilities = "e.LsfxCIvu";
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
  bundle += kCapabilities;
  out.push_back(std::move(bundle));
}

void add_number(std::vector<std::string>& out, std::string_view option, int value) {
  out.push_back(std::string(option) + std::to_string(value));
}

std::vector<std::string> common_arguments(const PullConfig& config) {
  std::vector<std::string> out = {"--server", "--sender"};
  add_option_bundle(config, out);
  if (config.compression == CompressionKind::kZlibx) out.emplace_back("--new-compress");
  if (config.compression != CompressionKind::kNone && config.compress_level != 0) {
    add_number(out, "--compress-level=", config.compress_level);
  }
  if (config.checksum) out.push_back("--checksum-choice=" + std::string(checksum_name(*config.checksum)));
  if (config.io_timeout_s > 0) add_number(out, "--timeout=", config.io_timeout_s);
  if (config.checksum_seed != 0) add_number(out, "--checksum-seed=", config.checksum_seed);
  if (config.numeric_ids) out.emplace_back("--numeric-ids");
  if (!config.paths.empty()) {
    if (config.report_missing) out.emplace_back("--delete-missing-args");
    out.emplace_back("--files-from=-");
    out.emplace_back("--from0");
  }
  out.insert(out.end(), config.extra_args.begin(), config.extra_args.end());
  out.emplace_back(".");
  return out;
}

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

}  // namespace

Result<void> validate_pull_config(const PullConfig& config) {
  const auto has = [](std::string_view text, std::string_view any) {
    return text.find_first_of(any) != std::string_view::npos;
  };
  constexpr std::string_view kNul("\0", 1);
  constexpr std::string_view kLineEnds("\0\r\n", 3);
  if (config.max_protocol < 30 || config.max_protocol > 32) return usage("the protocol must be 30, 31 or 32");
  if (config.peer == PeerKind::kDaemon) {
    if (config.module.empty() || config.module.starts_with('#') || has(config.module, "/") ||
        has(config.module, kLineEnds)) {
      return usage("not a module name: \"" + config.module + "\"");
    }
    if (has(config.user, " ") || has(config.user, kLineEnds)) return usage("not a user name");
  }
  if (has(config.root, kNul) || config.root.size() + config.module.size() > kMaxPath)
    return usage("not a path");
  for (const std::string& path : config.paths) {
    if (has(path, kNul) || config.root.size() + path.size() > kMaxPath - 3) return usage("not a path");
  }
  for (const std::string& filter : config.filters) {
    if (filter.empty() || has(filter, kLineEnds) || filter.size() > kMaxFilter)
      return usage("not a filter rule");
  }
  for (const std::string& argument : config.extra_args) {
    if (argument.empty() || has(argument, kNul) || argument == ".") return usage("not a server option");
  }
  return {};
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
  std::string path = clean_root(config.root);
  if (path.empty()) path = ".";
  if (path.starts_with('-')) path.insert(0, "./");
  if (!path.ends_with('/')) path += '/';
  out.push_back(std::move(path));
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
