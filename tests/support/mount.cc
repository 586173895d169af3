// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/mount.h"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "tests/support/files.h"
#include "tests/support/mount_table.h"
#include "tests/support/setup_failure.h"
#include "tests/support/wait.h"

namespace rsyncfs::support {
namespace {

constexpr std::chrono::seconds kMountLimit{60};
constexpr std::chrono::seconds kEndLimit{20};

nlohmann::json value_at(const std::string& text, const std::string& pointer) {
  const nlohmann::json root = nlohmann::json::parse(text, nullptr, false);
  const nlohmann::json::json_pointer where(pointer);
  if (root.is_discarded() || !root.contains(where)) fail_setup("status has no " + pointer + ": " + text);
  return root.at(where);
}

std::vector<const Mount*>& live_mounts() {
  static std::vector<const Mount*> mounts;
  return mounts;
}

}  // namespace

bool alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t end = text.rfind(')');
  if (end == std::string::npos || end + 2 >= text.size()) return false;
  if (text[end + 2] != 'Z') return true;
  // Of a killed process the first thread may be gone before the others, which hold its files until then.
  std::error_code gone;
  const std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task", gone);
  return !gone && std::distance(begin(threads), std::filesystem::directory_iterator()) > 1;
}

std::string rsyncfs_binary() {
  if (const char* given = std::getenv("RSYNCFS_BINARY")) return given;
#ifdef RSYNCFS_BINARY
  return RSYNCFS_BINARY;
#else
  fail_setup("this build has no rsyncfs program and $RSYNCFS_BINARY is not set");
#endif
}

Mount::Mount(MountOptions options) : Mount(std::move(options), true) {}

Mount::Mount(MountOptions options, bool mount_now) : options_(std::move(options)), dir_("mount") {
  state_dir_ = dir_.make_dir("state");
  runtime_dir_ = dir_.make_dir("run");
  mountpoint_ = dir_.make_dir("mnt");
  for (const std::string& dir : {state_dir_, runtime_dir_, mountpoint_}) {
    chmod(dir.c_str(), 0700);
    if (options_.owner != static_cast<uid_t>(-1) && chown(dir.c_str(), options_.owner, options_.owner) != 0) {
      fail_setup_errno("chown " + dir);
    }
  }
  if (mount_now) remount();
  live_mounts().push_back(this);
}

Mount::~Mount() {
  std::erase(live_mounts(), this);
  if (mounted()) command({"umount", mountpoint_}, kEndLimit);
  if (pid_ > 0 && !wait_until([&] { return !alive(pid_); }, kEndLimit)) kill(pid_, SIGKILL);
  while (mounted() && detach_mount(mountpoint_)) {
  }
}

const std::vector<const Mount*>& Mount::live() {
  return live_mounts();
}

bool Mount::mounted() const {
  return is_mounted(mountpoint_);
}

ProcessOptions Mount::process_options() const {
  ProcessOptions out;
  out.environment = options_.environment;
  out.environment.emplace_back("RSYNCFS_STATE_DIR", state_dir_);
  out.environment.emplace_back("RSYNCFS_RUNTIME_DIR", runtime_dir_);
  return out;
}

CommandResult Mount::try_mount() {
  std::vector<std::string> argv = options_.prefix;
  argv.insert(argv.end(), {rsyncfs_binary(), options_.source, mountpoint_});
  bool has_io = false;
  for (const std::string& option : options_.options) {
    argv.insert(argv.end(), {"-o", option});
    has_io = has_io || option.rfind("io=", 0) == 0;
  }
  const char* io = std::getenv("RSYNCFS_TEST_IO");
  // As "profile=large", to run what there is with it.
  if (const char* more = std::getenv("RSYNCFS_TEST_OPTIONS")) argv.insert(argv.end(), {"-o", more});
  if (!has_io && io != nullptr) argv.insert(argv.end(), {"-o", std::string("io=") + io});
  pid_ = -1;
  CommandResult result = run_command(argv, kMountLimit, process_options());
  if (result.exit_code == 0) pid_ = daemon_pid();
  return result;
}

CommandResult Mount::command(const std::vector<std::string>& arguments,
                             std::chrono::milliseconds limit) const {
  std::vector<std::string> argv = options_.prefix;
  argv.push_back(rsyncfs_binary());
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run_command(argv, limit, process_options());
}

void Mount::remount() {
  const CommandResult result = try_mount();
  if (result.exit_code != 0 || !mounted()) {
    fail_setup("rsyncfs " + options_.source + " ended with " + std::to_string(result.exit_code) +
               (result.timed_out ? " (time limit)" : "") + ": " + result.err + result.out + log());
  }
}

void Mount::unmount() {
  const pid_t pid = daemon_pid();
  const CommandResult result = command({"umount", mountpoint_}, kEndLimit);
  if (result.exit_code != 0) fail_setup("rsyncfs umount: " + result.err + log());
  if (mounted()) fail_setup("rsyncfs umount left the mount behind");
  if (!wait_until([&] { return !alive(pid); }, kEndLimit))
    fail_setup("the daemon outlives its mount" + log());
  pid_ = -1;
}

std::string Mount::status_json() const {
  const CommandResult result = command({"status", mountpoint_, "--json"});
  if (result.exit_code != 0) fail_setup("rsyncfs status: " + result.err + log());
  return result.out;
}

int64_t Mount::status_number(const std::string& pointer) const {
  const nlohmann::json value = value_at(status_json(), pointer);
  if (!value.is_number()) fail_setup("status " + pointer + " is not a number: " + value.dump());
  return value.get<int64_t>();
}

std::string Mount::status_text(const std::string& pointer) const {
  const nlohmann::json value = value_at(status_json(), pointer);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

pid_t Mount::daemon_pid() const {
  return pid_ > 0 ? pid_ : static_cast<pid_t>(status_number("/pid"));
}

int64_t Mount::rss_kib() const {
  std::ifstream file("/proc/" + std::to_string(daemon_pid()) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stoll(line.substr(6));
  }
  fail_setup("the daemon is gone" + log());
}

void Mount::kill9() {
  const pid_t pid = daemon_pid();
  kill(pid, SIGKILL);
  if (!wait_until([&] { return !alive(pid); }, kEndLimit)) fail_setup("the daemon survives SIGKILL");
  pid_ = -1;
  while (mounted() && detach_mount(mountpoint_)) {
  }
}

std::string Mount::log(size_t tail) const {
  std::string text;
  std::error_code error;
  namespace fs = std::filesystem;
  const auto skip = fs::directory_options::skip_permission_denied;
  for (const std::string& dir : {state_dir_, runtime_dir_}) {
    for (fs::recursive_directory_iterator it(dir, skip, error), end; !error && it != end;
         it.increment(error)) {
      if (it->path().extension() == ".log")
        text += "\n--- " + it->path().string() + "\n" + read_file(it->path());
    }
  }
  return text.size() > tail ? text.substr(text.size() - tail) : text;
}

}  // namespace rsyncfs::support
