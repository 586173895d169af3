// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/mount/mount_rig.h"

#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/support/io_uring.h"

namespace rsyncfs::mount_tests {
namespace {

Reading run_reader(const std::vector<std::string>& argv, milliseconds limit) {
  support::ProcessOptions options;
  options.environment = {{"LC_ALL", "C"}};
  CommandResult run = support::run_command(argv, limit, options);
  return {run.exit_code == 0, run.timed_out, std::move(run.out), std::move(run.err), run.seconds};
}

DaemonOptions with_module(DaemonOptions options, const std::string& path) {
  if (options.modules.empty()) options.modules = RsyncDaemon::serving(path).modules;
  for (support::DaemonModule& module : options.modules) {
    if (module.path.empty()) module.path = path;
  }
  return options;
}

// Prints what the daemons have logged when something fails: with the test it is gone.
class DaemonLogs : public ::testing::EmptyTestEventListener {
 public:
  void OnTestStart(const ::testing::TestInfo&) override { printed_ = false; }
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed() || printed_) return;
    printed_ = true;
    for (const Mount* mount : Mount::live()) {
      std::printf("logged for %s:%s\n", mount->path().c_str(), mount->log(20000).c_str());
    }
  }

 private:
  bool printed_ = false;
};
[[maybe_unused]] const bool kListens = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new DaemonLogs);
  return true;
}();

}  // namespace

Reading read_whole(const std::string& path, milliseconds limit) {
  return run_reader({"cat", "--", path}, limit);
}

Reading read_head(const std::string& path, size_t bytes, milliseconds limit) {
  return run_reader({"head", "-c", std::to_string(bytes), "--", path}, limit);
}

Reading list_names(const std::string& directory, milliseconds limit) {
  return run_reader({"ls", "-A", "--", directory}, limit);
}

void require_engine(const std::string& io) {
  const std::string why_not = io == "uring" ? support::why_no_io_uring() : "";
  if (!why_not.empty()) GTEST_SKIP() << why_not;
}

std::string state_of(const std::string& path) {
  std::array<char, 64> value;
  const ssize_t size = lgetxattr(path.c_str(), "user.rsyncfs.state", value.data(), value.size());
  return size < 0 ? std::strerror(errno) : std::string(value.data(), static_cast<size_t>(size));
}

int64_t files_fetched(const Mount& mount) {
  return mount.status_number("/totals/files_fetched");
}

bool wait_for_tree(const Mount& mount, milliseconds limit) {
  return wait_until([&] { return mount.status_text("/tree/listed") == "true"; }, limit);
}

ServedTree::ServedTree(DaemonOptions options)
    : dir_("served"), root_(dir_.make_dir("src")), server_(with_module(std::move(options), root_)) {}

MountOptions ServedTree::mount_options(std::vector<std::string> options) const {
  MountOptions mount;
  mount.source = server_.url();
  mount.options = std::move(options);
  return mount;
}

}  // namespace rsyncfs::mount_tests
