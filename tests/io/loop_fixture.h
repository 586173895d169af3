// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of the loop share: one loop per test, completions that end its run, and descriptors.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "io/loop.h"

namespace rsyncfs::test {

using Outcome = std::optional<Result<size_t>>;

class LoopFixture : public testing::Test {
 protected:
  // Skips the test where io_uring does not work.
  void open(IoChoice choice);
  Loop& loop() { return *loop_; }
  void close_loop() { loop_.reset(); }

  // A completion that fills `slot`; run_all() returns when all of them have come.
  IoDone into(Outcome& slot);
  void run_all();
  // run(), which fails the test and stops when it takes longer than any of them should.
  void run();
  size_t outstanding() const { return outstanding_; }

 private:
  std::unique_ptr<Loop> loop_;
  size_t outstanding_ = 0;
};

class LoopTest : public LoopFixture, public testing::WithParamInterface<IoChoice> {
 protected:
  void SetUp() override { open(GetParam()); }
};

// INSTANTIATE_TEST_SUITE_P(Engines, SUITE, kEngines, engine_name)
inline const auto kEngines = testing::Values(IoChoice::kUring, IoChoice::kThreads);
std::string engine_name(const testing::TestParamInfo<IoChoice>& info);

struct FdPair {
  UniqueFd first;
  UniqueFd second;
};
FdPair make_socketpair(bool nonblocking = false);
FdPair make_pipe(bool nonblocking = false);  // first: the end to read from
UniqueFd make_temp_file(std::string_view content = {});

std::span<std::byte> writable(std::string& text);
std::span<const std::byte> readable(std::string_view text);
iovec part(std::string_view text);
// 0 for success, the errno for a failure, -1 for no completion.
int error_of(const Outcome& outcome);
// Bytes that differ everywhere, so that a shifted or repeated piece is seen.
std::string pattern(size_t size, uint64_t seed);

}  // namespace rsyncfs::test
