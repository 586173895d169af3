// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/machine_checks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "fs/daemon/password.h"
#include "fs/fuse/front.h"
#include "io/base/text.h"
#include "io/base/unique_fd.h"
#include "io/loop.h"

namespace rsyncfs {
namespace {

constexpr std::pair<unsigned, unsigned> kOldestKernel{5, 4};
constexpr std::pair<unsigned, unsigned> kPassthroughKernel{6, 9};

using Severity::kNote;
using Severity::kOk;
using Severity::kProblem;
using Severity::kWarning;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The place of a program as execvp(3) finds it; "" if there is none.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

std::string octal(mode_t mode) {
  std::ostringstream out;
  out << std::oct << (mode & 07777);
  return out.str();
}

Finding check_kernel() {
  utsname name{};
  uname(&name);
  const auto version = kernel_version(name.release);
  const std::string what = std::string(name.sysname) + " " + name.release;
  if (version < kOldestKernel)
    return {kWarning, "kernel", what + " is older than any that this was tried with",
            "use Linux 5.4 or later"};
  if (version < kPassthroughKernel)
    return {kNote, "kernel", what + ": profile=large has no effect before Linux 6.9", ""};
  return {kOk, "kernel", what, ""};
}

Finding check_fuse_device() {
  const UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (device) return {kOk, "fuse", "/dev/fuse can be opened", ""};
  const int error = errno;
  const std::string what = "/dev/fuse: " + std::string(std::strerror(error));
  if (error == ENOENT || error == ENODEV || error == ENXIO)
    return {kProblem, "fuse", what, "load the module: modprobe fuse (in a container: pass the device in)"};
  if (error == EACCES)
    return {kProblem, "fuse", what,
            "let this user open it: chmod 666 /dev/fuse, or join the group that owns it"};
  return {kProblem, "fuse", what, "in a container or sandbox, allow the device /dev/fuse"};
}

Finding check_fusermount(uid_t uid) {
  const std::string program = find_program("fusermount3");
  if (program.empty()) {
    return {uid == 0 ? kNote : kProblem, "fusermount3",
            "it is not in PATH; users other than root need it to mount", "install the package fuse3"};
  }
  struct stat info {};
  if (stat(program.c_str(), &info) != 0)
    return {kWarning, "fusermount3", program + ": " + std::strerror(errno),
            "install the package fuse3 again"};
  if (uid != 0 && (info.st_uid != 0 || (info.st_mode & S_ISUID) == 0)) {
    return {kProblem, "fusermount3", program + " is not set-user-id root (" + octal(info.st_mode) + ")",
            "as root: chown root:root " + program + " && chmod 4755 " + program};
  }
  return {kOk, "fusermount3", program, ""};
}

Finding check_allow_other(uid_t uid, bool wanted) {
  if (uid == 0) return {kOk, "allow_other", "root may use it", ""};
  if (allows_others("/etc/fuse.conf"))
    return {kOk, "allow_other", "user_allow_other is set in /etc/fuse.conf", ""};
  return {wanted ? kProblem : kNote, "allow_other",
          "user_allow_other is not set in /etc/fuse.conf: only root may mount for others",
          "as root, add the line user_allow_other to /etc/fuse.conf"};
}

Finding check_loop(IoChoice choice) {
  const Result<LoopSelection> loop = make_loop(choice);
  if (!loop)
    return {kProblem, "io_uring", "io=uring was asked for: " + loop.error().message(),
            "leave out io=, or use io=threads"};
  if (loop->loop->engine() == "io_uring") return {kOk, "io_uring", loop->reason, ""};
  if (choice == IoChoice::kThreads) return {kOk, "io_uring", loop->reason, ""};
  const std::string disabled = first_line("/proc/sys/kernel/io_uring_disabled");
  return {kNote, "io_uring", loop->reason + "; threads do the same with more system calls",
          disabled.empty() || disabled == "0"
              ? "allow it, where a sandbox or seccomp filter refuses it"
              : "sysctl kernel.io_uring_disabled=0 (it is " + disabled + " now)"};
}

std::string nearest_existing(std::string path) {
  while (path != "/" && access(path.c_str(), F_OK) != 0) path = parent_path(path);
  return path;
}

void add_state_directory(Findings& out, const std::string& topic, const std::string& directory, uid_t uid) {
  const std::string place = nearest_existing(directory);
  struct stat info {};
  if (stat(place.c_str(), &info) != 0) {
    out.push_back(
        {kProblem, topic, place + ": " + std::strerror(errno), "choose another place: RSYNCFS_STATE_DIR"});
    return;
  }
  if (!S_ISDIR(info.st_mode)) {
    out.push_back({kProblem, topic, place + " is no directory", "choose another place: RSYNCFS_STATE_DIR"});
    return;
  }
  if (access(place.c_str(), W_OK | X_OK) != 0) {
    const int error = errno;
    out.push_back({kProblem, topic, place + " cannot be written to: " + std::strerror(error),
                   error == EROFS ? "choose a place on a writable file system: RSYNCFS_STATE_DIR"
                                  : "chown it to this user, or choose another place: RSYNCFS_STATE_DIR"});
    return;
  }
  if (place == directory && info.st_uid != uid) {
    out.push_back({kProblem, topic,
                   place + " belongs to another user (uid " + std::to_string(info.st_uid) + ")",
                   "chown it, or choose another place: RSYNCFS_STATE_DIR"});
  } else if (place == directory && (info.st_mode & 077) != 0) {
    out.push_back({kWarning, topic, place + " is open to others (mode " + octal(info.st_mode) + ")",
                   "chmod 700 " + place});
  } else {
    out.push_back({kOk, topic, place == directory ? place : directory + " is made when it is needed", ""});
  }
  struct statvfs disk {};
  if (statvfs(place.c_str(), &disk) != 0) return;
  out.push_back(check_disk(place, disk.f_bavail * disk.f_frsize, disk.f_favail, disk.f_files != 0));
}

void add_places(Findings& out, const UserPlaces& user, const MountOptions& options) {
  if (options.store.empty()) {
    const Result<std::string> state = state_root(user);
    if (state)
      add_state_directory(out, "state directory", lexical_absolute(*state, "/"), user.uid);
    else
      out.push_back({kProblem, "state directory", state.error().message(), "set RSYNCFS_STATE_DIR"});
  } else {
    const std::string here = std::filesystem::current_path().string();
    add_state_directory(out, "store", lexical_absolute(options.store, here), user.uid);
  }
  const Result<std::string> runtime = runtime_directory(user);
  if (!runtime) {
    out.push_back({kProblem, "runtime directory", runtime.error().message(), "set RSYNCFS_RUNTIME_DIR"});
    return;
  }
  const std::string place = nearest_existing(lexical_absolute(*runtime, "/"));
  if (access(place.c_str(), W_OK | X_OK) != 0)
    out.push_back({kProblem, "runtime directory", place + " cannot be written to: " + std::strerror(errno),
                   "choose another place: RSYNCFS_RUNTIME_DIR"});
}

void add_password_file(Findings& out, const MountOptions& options, uid_t uid) {
  const std::string& path = options.password_file;
  if (path.empty() || path == "-") return;
  const Result<std::string> password = read_password_file(path, uid);
  struct stat info {};
  const bool known = stat(path.c_str(), &info) == 0;
  if (!password) {
    out.push_back({kProblem, "password file", password.error().message(),
                   known ? "chmod 600 " + path + ", owned by who mounts; its first line is the password"
                         : "name the file that holds the password: password_file="});
  } else if (known && (info.st_mode & 077) != 0) {
    out.push_back({kWarning, "password file",
                   path + " is open to its group (mode " + octal(info.st_mode) + ")", "chmod 600 " + path});
  } else {
    out.push_back({kOk, "password file", path, ""});
  }
}

// OpenSSH ignores what others might have written or read.
void add_ssh(Findings& out, const UserPlaces& user, const MountOptions& options) {
  const char* environment = std::getenv("RSYNC_RSH");
  std::string shell =
      options.remote_shell.empty() && environment != nullptr ? environment : options.remote_shell;
  if (shell.empty()) shell = "ssh";
  const std::string program = shell.substr(0, shell.find(' '));
  const std::string found = find_program(program);
  if (found.empty()) {
    out.push_back({kProblem, "remote shell", program + " is not in PATH",
                   program == "ssh" ? "install the package openssh-client" : "correct rsh="});
    return;
  }
  out.push_back({kOk, "remote shell", found, ""});
  const std::string directory = user.home + "/.ssh";
  struct stat info {};
  if (stat(directory.c_str(), &info) != 0) return;
  if ((info.st_mode & 022) != 0)
    out.push_back({kWarning, "ssh",
                   directory + " may be written to by others (mode " + octal(info.st_mode) + ")",
                   "chmod 700 " + directory});
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
    const std::string name = entry.path().filename().string();
    const bool is_key = name.starts_with("id_") && !name.ends_with(".pub");
    const std::string path = directory + "/" + name;
    if (!is_key || stat(path.c_str(), &info) != 0 || (info.st_mode & 077) == 0) continue;
    out.push_back(
        {kProblem, "ssh",
         "ssh refuses the key " + path + ": it is open to others (mode " + octal(info.st_mode) + ")",
         "chmod 600 " + path});
  }
}

}  // namespace

std::pair<unsigned, unsigned> kernel_version(std::string_view release) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = release.data() + release.size();
  const auto first = std::from_chars(release.data(), end, major);
  if (first.ptr != end && *first.ptr == '.') std::from_chars(first.ptr + 1, end, minor);
  return {major, minor};
}

Finding check_disk(const std::string& directory, uint64_t free_bytes, uint64_t free_inodes, bool has_inodes) {
  const std::string bytes = human_bytes(free_bytes) + " free for " + directory;
  const std::string inodes = std::to_string(free_inodes) + " inodes free for " + directory;
  const std::string room = "make room there, or choose another place: RSYNCFS_STATE_DIR, store=";
  if (free_bytes < kDoctorLeastBytes) return {kProblem, "disk", "the disk is full: " + bytes, room};
  if (has_inodes && free_inodes < kDoctorLeastInodes)
    return {kProblem, "disk", "the file system has no inodes left: " + inodes, room};
  if (free_bytes < kDoctorLowBytes) return {kWarning, "disk", "little room: " + bytes, room};
  if (has_inodes && free_inodes < kDoctorLowInodes) return {kWarning, "disk", "few inodes: " + inodes, room};
  return {kOk, "disk", bytes, ""};
}

Findings check_machine(const UserPlaces& user, const MountOptions& options, const Source* source) {
  Findings out;
  out.push_back(check_kernel());
  out.push_back(check_fuse_device());
  out.push_back({kOk, "libfuse", fuse_library_version(), ""});
  out.push_back(check_fusermount(user.uid));
  out.push_back(check_allow_other(user.uid, options.allow_other));
  out.push_back(check_loop(options.io));
  add_places(out, user, options);
  add_password_file(out, options, user.uid);
  if (source != nullptr && source->kind == Source::Kind::kShell) add_ssh(out, user, options);
  return out;
}

}  // namespace rsyncfs
