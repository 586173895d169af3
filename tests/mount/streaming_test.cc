// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes are handed out as they land, and one fetch serves all who wait for it.
#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr uint64_t kGiB = 1ULL << 30;

class Streaming : public OnEachEngine {
 protected:
  std::vector<std::string> io() const { return {"io=" + GetParam()}; }
  ServedTree tree;
};
INSTANTIATE_TEST_SUITE_P(Io, Streaming, ::testing::Values("uring", "threads"));

TEST_P(Streaming, TheHeadOfAFileDoesNotWaitForTheFile) {
  support::make_sparse_file(tree / "huge", 10 * kGiB, std::string(4096, 'h'), 0);
  Mount mount(tree.mount_options(io()));
  const Reading reading = read_head(mount / "huge", 4096);
  EXPECT_EQ(reading.bytes, std::string(4096, 'h')) << reading.error;
  EXPECT_TRUE(wait_until([&] { return state_of(mount / "huge") == "partial"; }, seconds(30)))
      << state_of(mount / "huge");
  EXPECT_LT(mount.status_number("/totals/bytes_in"), static_cast<int64_t>(kGiB));
  mount.unmount();  // does not wait for the file either: it has a limit
}

TEST_P(Streaming, ASmallFileDoesNotWaitBehindALargeOne) {
  support::make_sparse_file(tree / "huge", 10 * kGiB, "h", 0);
  support::write_file(tree / "small", "small");
  Mount mount(tree.mount_options(io()));
  support::ChildProcess reader({"bash", "-c", "exec cat \"$0\" >/dev/null", mount / "huge"});
  ASSERT_TRUE(wait_until([&] { return mount.status_number("/totals/bytes_in") > (4 << 20); }, seconds(30)));
  const Reading reading = read_whole(mount / "small");
  EXPECT_EQ(reading.bytes, "small") << reading.error;
  EXPECT_TRUE(reader.running()) << "the large file was not large enough for this test";
}

TEST_P(Streaming, ReadersOfAFileShareOneFetch) {
  const std::string bytes = support::random_bytes(120U << 20, 42);
  support::write_file(tree / "shared", bytes);
  const std::string digest = support::run_shell("md5sum < '" + (tree / "shared") + "'");
  Mount mount(tree.mount_options(io()));
  const std::vector<std::string> argv = {"bash", "-c", "exec md5sum < \"$0\"", mount / "shared"};
  support::ChildProcess one(argv);
  support::ChildProcess two(argv);
  for (support::ChildProcess* reader : {&one, &two}) {
    ASSERT_TRUE(reader->wait_for(seconds(60)));
    EXPECT_EQ(reader->exit_code(), 0) << reader->err();
  }
  EXPECT_EQ(one.out(), digest);
  EXPECT_EQ(two.out(), digest);
  // Readers need not wait for the digest and for what is written to the store last.
  EXPECT_TRUE(wait_until([&] { return state_of(mount / "shared") == "cached"; }, seconds(30)));
  EXPECT_TRUE(wait_until([&] { return files_fetched(mount) >= 1; }, seconds(30)));
  EXPECT_TRUE(wait_until([&] { return !tree.server().transfers().empty(); }, seconds(30)));
  EXPECT_EQ(files_fetched(mount), 1);
  EXPECT_EQ(tree.server().transfers().size(), 1U);
}

TEST_P(Streaming, TheEndOfAFileDoesNotWaitForItsBeginning) {
  support::make_sparse_file(tree / "huge", 10 * kGiB, "the end", 10 * kGiB - 7);
  Mount mount(tree.mount_options(io()));
  support::ChildProcess tail({"tail", "-c", "7", mount / "huge"});
  ASSERT_TRUE(tail.wait_for(seconds(60))) << mount.log();
  EXPECT_EQ(tail.out(), "the end") << tail.err();
  EXPECT_LT(mount.status_number("/totals/bytes_in"), static_cast<int64_t>(kGiB));
}

TEST_P(Streaming, ManyReadersOfManyFilesAtOnce) {
  support::make_many_files(tree.path(), 8, 60, 2000);
  Mount mount(tree.mount_options(io()));
  std::vector<std::unique_ptr<support::ChildProcess>> readers;
  for (int i = 0; i < 8; ++i) {
    const std::string script = "cd \"$0\" && find . -type f | LC_ALL=C sort | xargs cat | md5sum";
    readers.push_back(std::make_unique<support::ChildProcess>(
        std::vector<std::string>{"bash", "-c", script, mount.path()}));
  }
  const std::string expected =
      support::run_shell("cd '" + tree.path() + "' && find . -type f | LC_ALL=C sort | xargs cat | md5sum");
  for (const auto& reader : readers) {
    ASSERT_TRUE(reader->wait_for(seconds(60)));
    EXPECT_EQ(reader->out(), expected) << reader->err();
  }
  EXPECT_TRUE(wait_until([&] { return files_fetched(mount) >= 480; }, seconds(30)));
  EXPECT_EQ(files_fetched(mount), 480) << "each file once";
}

}  // namespace
}  // namespace rsyncfs::mount_tests
