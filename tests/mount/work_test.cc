// SPDX-License-Identifier: GPL-3.0-or-later
// Real work on a read-write mount of a real server, and what the source has of it after a flush.
// RSYNCFS_SEED and RSYNCFS_TEST_OPERATIONS replay and prolong what is done at random.
#include <cstdlib>
#include <set>
#include <string>

#include "tests/mount/writable_mount.h"
#include "tests/posix/file_exerciser.h"
#include "tests/support/programs.h"
#include "tests/support/seed.h"

namespace rsyncfs::mount_tests {
namespace {

class Work : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(mounted_.mount_again(), ""); }
  void expect_at_the_source() {
    EXPECT_EQ(mounted_.flush(), "");
    EXPECT_EQ(mounted_.differences(), "");
  }

  WritableMount mounted_;
};

TEST_F(Work, OfManyPrograms) {
  TempDir dir;
  const std::string local = dir.make_dir("local");
  std::vector<std::string> said;
  for (const std::string& tree : {local, mounted_.path()}) {
    const std::string outside = dir.make_dir("outside" + std::to_string(said.size()));
    const CommandResult run =
        support::run_command({"bash", "-c", support::kPrograms, "bash", tree, outside}, seconds(120));
    EXPECT_EQ(run.exit_code, 0) << tree << ": " << run.err << run.out;
    said.push_back(run.out);
  }
  EXPECT_EQ(said[0], said[1]);
  expect_at_the_source();
  // It is whole there, too.
  const CommandResult check = support::run_command(
      {"bash", "-c",
       "cd \"$1\" && { [ ! -d repository ] || git -c safe.directory='*' -C repository fsck --full --strict; "
       "} &&"
       " for db in *.db; do [ ! -e $db ] || [ \"$(sqlite3 $db 'pragma integrity_check')\" = ok ]; done",
       "bash", mounted_.served()},
      seconds(60));
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  EXPECT_EQ(mounted_.take_in(), "");
  EXPECT_EQ(mounted_.differences(), "");
}

TEST_F(Work, OneFileInEveryWay) {
  constexpr uint64_t kUsual = 1500;
  const char* given = std::getenv("RSYNCFS_TEST_OPERATIONS");
  posix_tests::FileExerciserOptions options;
  options.path = mounted_ / "file";
  options.operations = given != nullptr ? std::strtoull(given, nullptr, 10) : kUsual;
  options.seed = support::test_seed();
  options.pause_every = std::max<uint64_t>(1, std::min<uint64_t>(options.operations / 6, 2000));
  options.pause = [this](uint64_t operation) {
    std::string wrong = mounted_.flush();
    if (wrong.empty()) wrong = mounted_.differences();
    if (!wrong.empty()) return wrong;
    if (operation / 1000 % 2 == 0)
      mounted_.mount().kill9();
    else
      wrong = mounted_.unmount(false);
    return wrong.empty() ? mounted_.mount_again() : wrong;
  };
  const posix_tests::ExerciseReport report = posix_tests::FileExerciser(options).run();
  EXPECT_EQ(report.failure, "");
  EXPECT_EQ(report.operations, options.operations);
  EXPECT_TRUE(report.refused.empty()) << *report.refused.begin();
  expect_at_the_source();
}

// Written in every way that fio has, and read back with its own sums.
TEST_F(Work, OfFioWithItsSums) {
  if (support::run_command({"fio", "--version"}, seconds(20)).exit_code != 0) GTEST_SKIP() << "no fio here";
  for (const char* how :
       {"--rw=randwrite --bs=4k --ioengine=psync", "--rw=write --bs=64k --ioengine=psync --direct=1",
        "--rw=randrw --bsrange=1k-32k --ioengine=mmap",
        "--rw=randwrite --bs=4k --ioengine=psync --fsync=64 --overwrite=1"}) {
    const std::string line = "fio --name=v --directory='" + mounted_.path() +
                             "' --size=4m --numjobs=2 --verify=crc32c --do_verify=1 --verify_fatal=1 "
                             "--verify_state_save=0 --group_reporting " +
                             how;
    const CommandResult run = support::run_command({"bash", "-c", line}, seconds(120));
    EXPECT_EQ(run.exit_code, 0) << how << run.out << run.err;
    expect_at_the_source();
  }
}

}  // namespace
}  // namespace rsyncfs::mount_tests
