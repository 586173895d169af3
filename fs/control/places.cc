// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/places.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "io/base/unique_fd.h"
#include "io/base/xxh.h"

namespace rsyncfs {
namespace {

constexpr std::string_view kName = "rsyncfs";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool is_absolute(std::string_view path) {
  return !path.empty() && path.front() == '/';
}

std::string join(std::string_view directory, std::string_view name) {
  std::string out(directory);
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  if (out.empty() || out.back() != '/') out += '/';
  return out.append(name);
}

std::string hash_of(std::string_view text) {
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx",
                static_cast<unsigned long long>(xxh3_64(std::as_bytes(std::span(text)))));
  return hex.data();
}

Result<std::string> given_directory(std::string_view variable_name, const std::string& value) {
  if (is_absolute(value)) return value;
  return Error(Errc::kUsage,
               std::string(variable_name) + " must be an absolute path, and is '" + value + "'");
}

// Letters of a source that are harmless and readable in a file name.
std::string slug(std::string_view source) {
  constexpr size_t kLongest = 48;
  if (const size_t scheme = source.find("://"); scheme != std::string_view::npos)
    source.remove_prefix(scheme + 3);
  std::string out;
  for (const char c : source) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
    const char next = plain && !(c == '.' && out.empty()) ? c : '-';
    if (next == '-' && (out.empty() || out.back() == '-')) continue;
    out += next;
    if (out.size() == kLongest) break;
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

}  // namespace

UserPlaces UserPlaces::of_this_process() {
  UserPlaces user;
  user.uid = geteuid();
  user.home = variable("HOME");
  if (!is_absolute(user.home)) {
    const passwd* entry = getpwuid(user.uid);
    user.home = entry != nullptr && entry->pw_dir != nullptr ? entry->pw_dir : "";
  }
  user.state_dir = variable("RSYNCFS_STATE_DIR");
  user.runtime_dir = variable("RSYNCFS_RUNTIME_DIR");
  user.xdg_state = variable("XDG_STATE_HOME");
  user.xdg_runtime = variable("XDG_RUNTIME_DIR");
  return user;
}

Result<std::string> state_root(const UserPlaces& user) {
  if (!user.state_dir.empty()) return given_directory("RSYNCFS_STATE_DIR", user.state_dir);
  if (user.uid == 0) return join("/var/lib", kName);
  // The XDG specification has relative values ignored.
  if (is_absolute(user.xdg_state)) return join(user.xdg_state, kName);
  if (is_absolute(user.home)) return join(join(user.home, ".local/state"), kName);
  return Error(Errc::kUsage,
               "no place for the state directory: set HOME, XDG_STATE_HOME or RSYNCFS_STATE_DIR");
}

Result<std::string> runtime_directory(const UserPlaces& user) {
  if (!user.runtime_dir.empty()) return given_directory("RSYNCFS_RUNTIME_DIR", user.runtime_dir);
  if (user.uid == 0) return join("/run", kName);
  if (is_absolute(user.xdg_runtime)) return join(user.xdg_runtime, kName);
  Result<std::string> state = state_root(user);
  if (!state) return state;
  return join(*state, "run");
}

std::vector<std::string> runtime_directories(const UserPlaces& user) {
  std::vector<std::string> found;
  const auto add = [&](const std::string& directory) {
    if (std::find(found.begin(), found.end(), directory) == found.end()) found.push_back(directory);
  };
  if (const Result<std::string> own = runtime_directory(user)) add(*own);
  if (!user.runtime_dir.empty()) return found;
  constexpr const char* kRunUser = "/run/user";
  if (user.uid != 0) {
    add(join(join(kRunUser, std::to_string(user.uid)), kName));
    if (const Result<std::string> state = state_root(user)) add(join(*state, "run"));
    return found;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> users(opendir(kRunUser), closedir);
  if (!users) return found;
  while (const dirent* entry = readdir(users.get())) {
    if (entry->d_name[0] != '.') add(join(join(kRunUser, entry->d_name), kName));
  }
  return found;
}

std::string mount_id(std::string_view canonical_source, std::string_view mountpoint) {
  std::string both(canonical_source);
  both.push_back('\0');
  both.append(mountpoint);
  const std::string readable = slug(canonical_source);
  return readable.empty() ? hash_of(both) : readable + "-" + hash_of(both);
}

std::string socket_name(std::string_view mountpoint) {
  return hash_of(mountpoint) + ".sock";
}
std::string record_name(std::string_view mountpoint) {
  return hash_of(mountpoint) + ".mount";
}

std::string lexical_absolute(std::string_view path, std::string_view working_directory) {
  const std::string whole =
      is_absolute(path) ? std::string(path) : std::string(working_directory) + "/" + std::string(path);
  std::vector<std::string_view> parts;
  std::string_view rest = whole;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) out.append("/").append(part);
  return out.empty() ? "/" : out;
}

std::string parent_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string_view::npos ? "/" : std::string(path.substr(0, slash));
}

Result<void> make_directory_path(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    // What cannot be made here is reported for the whole path below.
    static_cast<void>(mkdir(path.substr(0, slash).c_str(), 0700));
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Error::os(errno, "cannot make " + path);
  return {};
}

Result<void> make_private_directory(const std::string& path) {
  if (Result<void> made = make_directory_path(path); !made) return made;
  const UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return Error::os(errno, "cannot use " + path);
  struct stat info {};
  if (fstat(directory.get(), &info) != 0) return Error::os(errno, "cannot use " + path);
  if (info.st_uid != geteuid()) {
    return Error(Errc::kRefused, path + " belongs to another user (uid " + std::to_string(info.st_uid) + ")");
  }
  if ((info.st_mode & 077) != 0 && fchmod(directory.get(), 0700) != 0) {
    return Error::os(errno, "cannot close " + path + " to other users");
  }
  return {};
}

}  // namespace rsyncfs
