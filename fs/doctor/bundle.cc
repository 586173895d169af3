// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/bundle.h"

#include <gnu/libc-version.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "fs/control/mount_table.h"
#include "fs/daemon/password.h"
#include "fs/daemon/version.h"
#include "fs/doctor/mount_checks.h"
#include "fs/doctor/name_veil.h"
#include "fs/fuse/front.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

// Their values are free text: names, commands, rules.
constexpr std::array<std::string_view, 17> kHiddenValues = {
    "password_file", "rsh",    "rsync_path", "exclude", "include",  "filter",
    "conflict_rule", "fsname", "subtype",    "store",   "log_file", "metrics",
    "comment",       "uid",    "gid",        "context", "sockopts"};

std::string read_some(const std::string& path, size_t most) {
  std::ifstream file(path, std::ios::binary);
  std::string text(most, '\0');
  file.read(text.data(), static_cast<std::streamsize>(most));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
  return text;
}

// Whole lines.
std::string tail_of(const std::string& path, size_t most) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  const auto size = static_cast<size_t>(std::max<std::streamoff>(0, file.tellg()));
  const size_t skip = size > most ? size - most : 0;
  file.seekg(static_cast<std::streamoff>(skip));
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (skip > 0) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

std::vector<std::string> command_line(uint64_t pid) {
  std::istringstream words(read_some("/proc/" + std::to_string(pid) + "/cmdline", 1 << 16));
  std::vector<std::string> out;
  for (std::string word; std::getline(words, word, '\0');) out.push_back(word);
  return out;
}

std::string shown_option(const std::string& option, bool with_names) {
  const size_t equal = option.find('=');
  std::string name = option.substr(0, equal);
  std::replace(name.begin(), name.end(), '-', '_');
  if (equal == std::string::npos) return name;
  const bool hidden = std::find(kHiddenValues.begin(), kHiddenValues.end(), name) != kHiddenValues.end() ||
                      find_option(name) == nullptr || name.starts_with("x_") || name.starts_with("X_");
  return name + "=" + (hidden && !with_names ? "_" : option.substr(equal + 1));
}

std::string kernel_facts(const std::optional<MountStatus>& status, const NameVeil& veil) {
  utsname name{};
  uname(&name);
  std::string out =
      std::string(name.sysname) + " " + name.release + " " + name.version + " " + name.machine + "\n";
  out += std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " processors, " +
         human_bytes(static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<uint64_t>(sysconf(_SC_PAGESIZE))) +
         " of memory\n";
  for (const char* file : {"/proc/sys/kernel/io_uring_disabled", "/sys/module/fuse/parameters/enable_uring",
                           "/sys/module/fuse/parameters/max_user_bgreq", "/proc/sys/fs/fuse/max_pages_limit",
                           "/proc/sys/fs/file-max", "/proc/self/limits"}) {
    const std::string text = read_some(file, 4096);
    out += std::string(file) + ":" + (text.empty() ? " not there\n" : "\n" + text);
  }
  if (!status) return out;
  if (const auto mounted = mounted_at(status->mountpoint))
    out += "mounted as " + mounted->type + ", device " + mounted->device + ": " +
           veil.text(mounted->options) + "\n";
  return out;
}

std::string versions() {
  return "rsyncfs " + std::string(version()) + "\n" + fuse_library_version() + "\nglibc " +
         gnu_get_libc_version() + "\n";
}

// Neither the password nor anything else of the file is shown; this is for the case that somebody wrote it
// elsewhere.
void add_secrets(NameVeil& veil, const std::vector<std::string>& paths) {
  if (const char* password = std::getenv("RSYNC_PASSWORD")) veil.add_secret(password);
  for (const std::string& path : paths) {
    if (path.empty() || path == "-") continue;
    if (const Result<std::string> password = read_password_file(path, geteuid())) veil.add_secret(*password);
  }
}

// As the daemon was told.
MountOptions options_of(const std::vector<std::string>& words) {
  MountOptions options;
  options.sloppy = true;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "-o" && i + 1 < words.size())
      static_cast<void>(apply_option_list(options, words[++i]));
    else if (words[i].starts_with("-o"))
      static_cast<void>(apply_option_list(options, words[i].substr(2)));
    else if (words[i].starts_with("--"))
      static_cast<void>(apply_option_list(options, words[i].substr(2)));
  }
  return options;
}

std::string log_tail(const std::string& path, const NameVeil& veil) {
  std::istringstream lines(tail_of(path, kMaxBundledLog));
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    // "2026-01-31T12:00:00.000+00:00 info message"
    const size_t level = line.find(' ');
    const size_t message = level == std::string::npos ? level : line.find(' ', level + 1);
    if (message == std::string::npos) continue;
    const std::string text = line.substr(message + 1);
    out += line.substr(0, message + 1) + veil.line(text, true) + "\n";
  }
  return out;
}

Findings veiled(Findings findings, const NameVeil& veil) {
  for (Finding& finding : findings) {
    finding.what = veil.text(finding.what);
    finding.cure = veil.text(finding.cure);
  }
  return findings;
}

}  // namespace

std::string shown_options(const std::vector<std::string>& words, bool with_names) {
  std::string out;
  const auto add = [&](const std::string& list) {
    for (const std::string& option : split_option_list(list)) out += shown_option(option, with_names) + "\n";
  };
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "-o") {
      if (i + 1 < words.size()) add(words[++i]);
    } else if (word.starts_with("--")) {
      out += shown_option(word.substr(2), with_names) + "\n";
    } else if (word.starts_with("-o")) {
      add(word.substr(2));
    } else if (word.starts_with("-")) {
      out += word + "\n";
    }
  }
  return out;
}

std::vector<ArchivedFile> make_bundle(const BundleRequest& request, int64_t now_s) {
  NameVeil veil(request.with_names);
  const std::vector<std::string> words =
      request.status ? command_line(request.status->pid) : std::vector<std::string>();
  const MountOptions daemon = options_of(words);
  add_secrets(veil, {request.options.password_file, daemon.password_file});
  veil.add_place(request.home, "HOME");
  veil.add_place(request.options.password_file, "PASSWORD_FILE");
  veil.add_place(request.options.store, "STORE");
  std::vector<ArchivedFile> files;
  const auto add = [&files](const char* name, std::string text) {
    files.push_back({std::string("rsyncfs-support/") + name, std::move(text)});
  };
  add("versions.txt", versions());
  add("kernel.txt", kernel_facts(request.status, veil));
  Findings findings = veiled(request.machine, veil);
  if (request.status) {
    std::string log =
        daemon.log_file.empty() ? request.status->state_directory + "/rsyncfs.log" : daemon.log_file;
    veil.add_place(request.status->mountpoint, "MOUNTPOINT");
    veil.add_place(request.status->state_directory, "STORE");
    const MountStatus shown = veil.status(*request.status);
    add("status.json", status_json(shown) + "\n");
    add("metrics.txt", metrics_text(shown, now_s));
    add("options.txt", veil.text(shown_options(words, request.with_names)));
    add("log.txt", log_tail(log, veil));
    for (Finding& finding : check_mount(shown, now_s)) findings.push_back(std::move(finding));
  }
  add("findings.txt", findings_text(findings, /*colour=*/false));
  add("findings.json", findings_json(findings) + "\n");
  return files;
}

}  // namespace rsyncfs
