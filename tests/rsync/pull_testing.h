// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of pull sessions against real servers share.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "tests/support/blocking_pull.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {

using support::BlockingPull;
using support::BlockingPullOptions;
using support::MemorySink;
using support::RsyncDaemon;
using support::TempDir;

// Of module "m", which RsyncDaemon::serving() makes.
inline PullConfig daemon_config() {
  PullConfig config;
  config.module = "m";
  return config;
}

inline PullConfig paths_config(std::vector<std::string> paths) {
  PullConfig config = daemon_config();
  config.paths = std::move(paths);
  return config;
}

}  // namespace rsyncfs

#define ASSERT_OK(expression)                                                                               \
  do {                                                                                                      \
    const auto& ok_result = (expression);                                                                   \
    ASSERT_TRUE(ok_result.ok()) << #expression ": " << (ok_result.ok() ? "" : ok_result.error().message()); \
  } while (false)
#define EXPECT_OK(expression)                                                                               \
  do {                                                                                                      \
    const auto& ok_result = (expression);                                                                   \
    EXPECT_TRUE(ok_result.ok()) << #expression ": " << (ok_result.ok() ? "" : ok_result.error().message()); \
  } while (false)
