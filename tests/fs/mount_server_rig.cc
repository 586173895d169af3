// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fs/mount_server_rig.h"

#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <utility>

#include "tests/support/mount_table.h"
#include "tests/support/setup_failure.h"
#include "tests/support/wait.h"

namespace rsyncfs::testing {

using std::chrono::seconds;

MountServer::MountServer(std::string source, std::string profile)
    : source_(std::move(source)),
      profile_(std::move(profile)),
      store_(dir_.make_dir("store")),
      mountpoint_(dir_.make_dir("mnt")) {
  ::chmod(store_.c_str(), 0700);
  start();
}

MountServer::~MountServer() {
  if (process_ != nullptr) process_->kill9();
  support::detach_mount(mountpoint_);
}

void MountServer::start() {
  process_ = std::make_unique<support::ChildProcess>(
      std::vector<std::string>{RSYNCFS_MOUNT_SERVER, store_, mountpoint_, source_, profile_});
  const bool ready = support::wait_until(
      [this] { return process_->out().starts_with("ready") || !process_->running(); }, seconds(30));
  if (!ready || !process_->running()) support::fail_setup("no mount: " + process_->err());
}

void MountServer::stop() {
  process_->signal(SIGTERM);
  if (!process_->wait_for(seconds(30))) support::fail_setup("the mount server does not end");
  if (process_->exit_code() != 0) support::fail_setup("the mount server failed: " + process_->err());
  process_.reset();
}

void MountServer::kill9() {
  process_->kill9();
  process_.reset();
  support::detach_mount(mountpoint_);
}

}  // namespace rsyncfs::testing
