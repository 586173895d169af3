// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/mount_point.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

// What fusermount3 may say; more is cut off.
constexpr size_t kMaxHelperMessageBytes = 4096;

// Space, tab, newline and backslash are written as \ooo there.
std::string unescape(std::string_view field) {
  std::string text;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      text.push_back(
          static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0')));
      i += 3;
    } else {
      text.push_back(field[i]);
    }
  }
  return text;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 512> buffer{};
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (text.size() < kMaxHelperMessageBytes) text.append(buffer.data(), static_cast<size_t>(n));
  }
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// Runs fusermount3 -u; its standard error is the message.
Result<void> run_fusermount(const std::string& mountpoint, bool lazy) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error::os(errno, "pipe");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  std::string program = "fusermount3";
  std::string flags = lazy ? "-uz" : "-u";
  std::string separator = "--";
  std::string path = mountpoint;
  std::array<char*, 5> argv{program.data(), flags.data(), separator.data(), path.data(), nullptr};
  posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDERR_FILENO);
  pid_t child = 0;
  const int spawned = ::posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0) return Error::os(spawned, program);
  writer.reset();
  const std::string message = read_all(reader.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const int err = message.find("busy") != std::string::npos ? EBUSY : EPERM;
  return Error(Errc::kOs, message.empty() ? "umount " + mountpoint + ": refused" : message).with_errno(err);
}

}  // namespace

std::optional<std::string> mounted_device(const std::string& mountpoint) {
  std::ifstream table("/proc/self/mountinfo");
  std::optional<std::string> device;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string id;
    std::string parent;
    std::string numbers;
    std::string root;
    std::string point;
    if (fields >> id >> parent >> numbers >> root >> point && unescape(point) == mountpoint) device = numbers;
  }
  return device;
}

Result<void> take_mount_away(const std::string& mountpoint, bool lazy) {
  if (::geteuid() != 0) return run_fusermount(mountpoint, lazy);
  const int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  if (::umount2(mountpoint.c_str(), flags) == 0) return {};
  return Error::os(errno, "umount " + mountpoint);
}

Result<void> set_read_ahead(const std::string& device, unsigned kib) {
  const std::string path = "/sys/class/bdi/" + device + "/read_ahead_kb";
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return Error::os(errno, path);
  const std::string text = std::to_string(kib);
  if (::write(file.get(), text.data(), text.size()) < 0) return Error::os(errno, path);
  return {};
}

}  // namespace rsyncfs
