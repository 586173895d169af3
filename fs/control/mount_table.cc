// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/mount_table.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

extern char** environ;

namespace rsyncfs {
namespace {

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string decode_octal(std::string_view text) {
  std::string out;
  const auto digit = [&](size_t i) { return text[i] >= '0' && text[i] <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t space = line.find(' ');
    if (space != 0) words.push_back(line.substr(0, space));
    line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  }
  return words;
}

// id parent dev root MOUNTPOINT options [optional...] - TYPE SOURCE superoptions
std::optional<MountedAt> parse_line(std::string_view line) {
  constexpr size_t kDevice = 2;
  constexpr size_t kMountpoint = 4;
  constexpr size_t kFirstOptional = 6;
  const std::vector<std::string_view> words = words_of(line);
  if (words.size() <= kFirstOptional) return std::nullopt;
  const auto dash = std::find(words.begin() + kFirstOptional, words.end(), "-");
  if (words.end() - dash < 3) return std::nullopt;
  MountedAt mount;
  mount.mountpoint = decode_octal(words[kMountpoint]);
  mount.type = decode_octal(dash[1]);
  mount.source = decode_octal(dash[2]);
  mount.device = words[kDevice];
  mount.options = std::string(words[kMountpoint + 1]);
  if (words.end() - dash > 3) mount.options.append(",").append(dash[3]);
  return mount;
}

// Runs fusermount3, whose complaint is told apart by its wording: it has one exit status for all.
Result<void> run_fusermount(const std::string& mountpoint, bool lazy) {
  std::array<int, 2> said{};
  if (pipe2(said.data(), O_CLOEXEC) != 0) return Error::os(errno, "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, said[1], STDERR_FILENO);
  std::string program = "fusermount3";
  std::string flags = lazy ? "-uz" : "-u";
  std::string end_of_flags = "--";
  std::string point = mountpoint;
  const std::array<char*, 5> argv = {program.data(), flags.data(), end_of_flags.data(), point.data(),
                                     nullptr};
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(said[1]);
  std::string words;
  std::array<char, 512> piece{};
  for (ssize_t n = 0; failed == 0 && (n = read(said[0], piece.data(), piece.size())) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0 && words.size() < piece.size()) words.append(piece.data(), static_cast<size_t>(n));
  }
  close(said[0]);
  if (failed != 0) return Error::os(failed, "cannot run fusermount3");
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const std::string line = words.substr(0, words.find('\n'));
  if (line.find("busy") != std::string::npos) return Error::os(EBUSY, mountpoint);
  if (line.find("not found in") != std::string::npos) return Error::os(EINVAL, mountpoint);
  return Error(Errc::kOs, line.empty() ? "fusermount3 failed" : line).with_errno(EPERM);
}

}  // namespace

std::vector<MountedAt> parse_mount_table(std::string_view mountinfo) {
  std::vector<MountedAt> mounts;
  while (!mountinfo.empty()) {
    const size_t end = mountinfo.find('\n');
    if (std::optional<MountedAt> mount = parse_line(mountinfo.substr(0, end)))
      mounts.push_back(std::move(*mount));
    mountinfo.remove_prefix(end == std::string_view::npos ? mountinfo.size() : end + 1);
  }
  return mounts;
}

Result<std::vector<MountedAt>> read_mount_table(pid_t process) {
  const std::string path = "/proc/" + (process == 0 ? "self" : std::to_string(process)) + "/mountinfo";
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || !text) return Error::os(EIO, "cannot read " + path);
  return parse_mount_table(text.str());
}

std::optional<MountedAt> mounted_at(const std::string& mountpoint) {
  const Result<std::vector<MountedAt>> mounts = read_mount_table();
  if (!mounts) return std::nullopt;
  // Later lines lie on top of earlier ones.
  for (auto mount = mounts->rbegin(); mount != mounts->rend(); ++mount) {
    if (mount->mountpoint == mountpoint) return *mount;
  }
  return std::nullopt;
}

Result<std::string> absolute_mountpoint(const std::string& path) {
  std::string plain = path;
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  const size_t slash = plain.rfind('/');
  const std::string name = slash == std::string::npos ? plain : plain.substr(slash + 1);
  const bool whole = name.empty() || name == "." || name == "..";
  std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : plain.substr(0, slash);
  if (whole) directory = plain;
  const std::unique_ptr<char, void (*)(void*)> real(realpath(directory.c_str(), nullptr), std::free);
  if (!real) return Error(Errc::kOs, std::strerror(errno)).with_errno(errno);
  const std::string resolved = real.get();
  return whole ? resolved : (resolved == "/" ? "" : resolved) + "/" + name;
}

Result<void> unmount_directly(const std::string& mountpoint, bool lazy) {
  if (umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return {};
  if (errno != EPERM) return Error::os(errno, mountpoint);
  return run_fusermount(mountpoint, lazy);
}

}  // namespace rsyncfs
