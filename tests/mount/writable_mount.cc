// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/mount/writable_mount.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr seconds kFlushLimit{60};
constexpr seconds kLimit{90};  // of a command that has one itself

std::string failure(const CommandResult& run, const Mount& mount) {
  return "exit status " + std::to_string(run.exit_code) + (run.timed_out ? " (time limit)" : "") + ": " +
         run.err + run.out + mount.log();
}

}  // namespace

WritableMount::WritableMount(std::vector<std::string> options) : mount_(mount_options(options), false) {}

DaemonOptions WritableMount::writable() {
  DaemonOptions options = RsyncDaemon::serving("");
  options.modules[0].read_only = false;
  return options;
}

MountOptions WritableMount::mount_options(const std::vector<std::string>& options) const {
  MountOptions out =
      tree_.mount_options({"rw", "writeback_delay=50ms", "timeout=20", "max_delete=0", "log_level=debug"});
  out.options.insert(out.options.end(), options.begin(), options.end());
  return out;
}

std::string WritableMount::flush() {
  const CommandResult run =
      mount_.command({"flush", mount_.path(), "--timeout=" + std::to_string(kFlushLimit.count())}, kLimit);
  return run.exit_code == 0 ? "" : "flush: " + failure(run, mount_);
}

std::string WritableMount::differences(const std::string& path) const {
  support::CompareOptions options;
  options.directory_times = false;
  options.root_itself = false;
  return support::join_lines(support::compare_trees(mount_ / path, tree_ / path, options));
}

std::string WritableMount::unmount(bool drain) {
  const pid_t pid = mount_.daemon_pid();
  const int64_t limit_s = drain ? kFlushLimit.count() : 0;
  const CommandResult run =
      mount_.command({"umount", mount_.path(), "--timeout=" + std::to_string(limit_s)}, kLimit);
  const bool left = run.exit_code == 1 && run.err.find("the next mount sends the rest") != std::string::npos;
  if (run.exit_code != 0 && (drain || !left)) return "umount: " + failure(run, mount_);
  if (!wait_until([&] { return !support::alive(pid); }, seconds(20))) return "the daemon outlives its mount";
  return mount_.mounted() ? "umount left the mount behind" : "";
}

std::string WritableMount::wait_for_server() {
  const bool over = wait_until([&] { return !tree_.server().serving(); }, seconds(20));
  return over ? "" : "the server goes on without us";
}

std::string WritableMount::mount_again() {
  if (std::string wrong = wait_for_server(); !wrong.empty()) return wrong;
  const CommandResult run = mount_.try_mount();
  return run.exit_code == 0 ? "" : "mount: " + failure(run, mount_);
}

std::string WritableMount::take_in() {
  if (std::string wrong = unmount(true); !wrong.empty()) return wrong;
  if (std::string wrong = mount_again(); !wrong.empty()) return wrong;
  return wait_for_tree(mount_) ? "" : "the tree is not listed" + mount_.log();
}

}  // namespace rsyncfs::mount_tests
