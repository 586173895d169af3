// SPDX-License-Identifier: GPL-3.0-or-later
// Files that change between the listing and the fetching, on the real sender.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "tests/rsync/pull_testing.h"
#include "tests/support/old_rsync.h"

namespace rsyncfs {
namespace {

class Changes : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    support::make_dirs(dir_ / "tree/sub");
    for (const char* name : {"a", "b", "c", "d", "sub/e"}) support::write_file(file(name), contents(name));
  }
  std::string file(const std::string& name) const { return dir_ / ("tree/" + name); }
  static std::string contents(const std::string& name) { return "the original contents of " + name; }
  std::unique_ptr<BlockingPull> open(PullConfig config = daemon_config()) {
    std::unique_ptr<BlockingPull> pull;
    if (GetParam() == "daemon") {
      daemon_.emplace(RsyncDaemon::serving(dir_ / "tree"));
      pull = BlockingPull::over_tcp(daemon_->port(), config);
    } else {
      config.root = dir_ / "tree";
      pull = BlockingPull::over_pipe(GetParam() == "pipe" ? "rsync" : support::require_old_rsync(), config);
    }
    const auto listed = pull->wait_for_list();
    EXPECT_OK(listed);
    return pull;
  }
  // The session still serves others.
  static void expect_alive(BlockingPull& pull, const std::string& name = "d") {
    const auto file = pull.fetch(name);
    ASSERT_OK(file);
    EXPECT_EQ(file->data, contents(name));
    EXPECT_EQ(file->end->status, FileEnd::Status::kGood);
    EXPECT_OK(pull.finish());
  }
  TempDir dir_;
  std::optional<RsyncDaemon> daemon_;
};

TEST_P(Changes, VanishedInTheMiddleOfAPipeline) {
  for (int i = 0; i < 40; ++i) support::write_file(file("n" + std::to_string(i)), std::to_string(i));
  auto pull = open();
  ASSERT_EQ(unlink(file("n21").c_str()), 0);
  std::vector<MemorySink> sinks(40);
  for (int i = 0; i < 40; ++i) {
    pull->session().request_file(*pull->list().find("n" + std::to_string(i)), {},
                                 sinks[static_cast<size_t>(i)]);
  }
  ASSERT_OK(pull->pump_until([&] { return pull->session().unanswered() == 0; }));
  for (int i = 0; i < 40; ++i) {
    const MemorySink& sink = sinks[static_cast<size_t>(i)];
    ASSERT_TRUE(sink.end);
    if (i == 21) {
      EXPECT_EQ(sink.end->status, FileEnd::Status::kNotSent);
      EXPECT_EQ(sink.end->reason.code(), Errc::kVanished) << sink.end->reason.message();
      EXPECT_EQ(sink.begun, 0);
    } else {
      EXPECT_EQ(sink.end->status, FileEnd::Status::kGood);
      EXPECT_EQ(sink.data, std::to_string(i));
    }
  }
  expect_alive(*pull);
}

TEST_P(Changes, TheSameFileTwiceVanished) {
  auto pull = open();
  ASSERT_EQ(unlink(file("a").c_str()), 0);
  std::vector<MemorySink> sinks(2);
  for (MemorySink& sink : sinks) pull->session().request_file(*pull->list().find("a"), {}, sink);
  ASSERT_OK(pull->pump_until([&] { return pull->session().unanswered() == 0; }));
  for (const MemorySink& sink : sinks) EXPECT_EQ(sink.end->status, FileEnd::Status::kNotSent);
  expect_alive(*pull);
}

TEST_P(Changes, GrownAndShrunkFilesComeAsTheyAre) {
  auto pull = open();
  const std::string grown = support::random_bytes(1'000'000, 3);
  support::write_file(file("a"), grown);
  support::write_file(file("b"), "s");
  support::write_file(file("c"), "");
  for (const auto& [name, expected] :
       {std::pair<std::string, std::string>{"a", grown}, {"b", "s"}, {"c", ""}}) {
    const auto got = pull->fetch(name);
    ASSERT_OK(got);
    EXPECT_EQ(got->data, expected);
    EXPECT_EQ(got->end->status, FileEnd::Status::kGood);
    EXPECT_EQ(got->end->size, expected.size());
  }
  expect_alive(*pull);
}

TEST_P(Changes, AFileThatGrewBeyondTheLimitEndsTheSession) {
  BlockingPullOptions options;
  options.limits.max_file_excess = 1000;
  RsyncDaemon daemon(RsyncDaemon::serving(dir_ / "tree"));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config(), options);
  ASSERT_OK(pull->wait_for_list());
  support::write_file(file("a"), std::string(contents("a").size() + 1001, 'x'));
  const auto got = pull->fetch("a");
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), Errc::kLimit);
}

TEST_P(Changes, BecameADirectory) {
  auto pull = open();
  ASSERT_EQ(unlink(file("a").c_str()), 0);
  ASSERT_EQ(mkdir(file("a").c_str(), 0755), 0);
  const auto got = pull->fetch("a");
  ASSERT_OK(got);
  // Older senders send zeros with a digest that does not match; none says it is good.
  EXPECT_NE(got->end->status, FileEnd::Status::kGood);
  expect_alive(*pull);
}

TEST_P(Changes, BecameASymlink) {
  auto pull = open();
  ASSERT_EQ(unlink(file("a").c_str()), 0);
  ASSERT_EQ(symlink("b", file("a").c_str()), 0);
  const auto got = pull->fetch("a");
  ASSERT_OK(got);
  if (got->end->status == FileEnd::Status::kNotSent) {
    EXPECT_EQ(got->end->reason.code(), Errc::kChanged) << got->end->reason.message();
  } else {
    EXPECT_EQ(got->data, contents("b"));  // older senders follow it
  }
  expect_alive(*pull);
}

TEST_P(Changes, BecameAFifoIsNeverAnswered) {
  // Whoever drives a session needs a limit of its own: the sender waits in open() for a writer.
  PullConfig config;
  config.root = dir_ / "tree";
  BlockingPullOptions options;
  options.limit = std::chrono::seconds(2);
  auto pull =
      BlockingPull::over_pipe(GetParam() == "old" ? support::require_old_rsync() : "rsync", config, options);
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(unlink(file("a").c_str()), 0);
  ASSERT_EQ(mkfifo(file("a").c_str(), 0644), 0);
  MemorySink sink;
  pull->session().request_file(*pull->list().find("a"), {}, sink);
  const auto got = pull->pump_until([&] { return sink.end.has_value(); });
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), Errc::kTimedOut);
}

TEST_P(Changes, ItsDirectoryIsGone) {
  auto pull = open();
  ASSERT_EQ(unlink(file("sub/e").c_str()), 0);
  ASSERT_EQ(rmdir(file("sub").c_str()), 0);
  const auto got = pull->fetch("sub/e");
  ASSERT_OK(got);
  EXPECT_EQ(got->end->status, FileEnd::Status::kNotSent);
  EXPECT_EQ(got->end->reason.code(), Errc::kVanished);
  expect_alive(*pull);
}

TEST_P(Changes, TheRootOfChosenPathsIsGone) {
  PullConfig config = paths_config({"sub/", "a"});
  if (GetParam() == "daemon") {
    daemon_.emplace(RsyncDaemon::serving(dir_.path()));
    config.root = "tree";
  } else {
    config.root = dir_ / "tree";
  }
  auto pull = GetParam() == "daemon" ? BlockingPull::over_tcp(daemon_->port(), config)
                                     : BlockingPull::over_pipe("rsync", config);
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(rename((dir_ / "tree").c_str(), (dir_ / "moved").c_str()), 0);
  // Whatever the sender makes of it, the answer comes: content it can still reach, a refusal, or an error.
  const auto got = pull->fetch("a");
  if (got.ok() && got->end->status == FileEnd::Status::kGood) {
    EXPECT_EQ(got->data, contents("a"));
  } else if (!got.ok()) {
    EXPECT_EQ(got.error().code(), Errc::kDisconnected) << got.error().message();
  }
}

TEST_P(Changes, TheRootOfAWholeTreeIsGone) {
  PullConfig config = daemon_config();
  if (GetParam() == "daemon") config.root = "tree";
  std::unique_ptr<BlockingPull> pull;
  if (GetParam() == "daemon") {
    daemon_.emplace(RsyncDaemon::serving(dir_.path()));
    pull = BlockingPull::over_tcp(daemon_->port(), config);
    ASSERT_OK(pull->wait_for_list());
  } else {
    pull = open();
  }
  std::filesystem::remove_all(dir_ / "tree");
  for (const char* name : {"a", "sub/e"}) {  // and the session goes on
    const auto got = pull->fetch(name);
    ASSERT_OK(got);
    EXPECT_EQ(got->end->status, FileEnd::Status::kNotSent);
    EXPECT_EQ(got->end->reason.code(), Errc::kVanished) << got->end->reason.message();
  }
  EXPECT_OK(pull->finish());
}

// The sender fills what it could not read with zeros, and spoils the digest on purpose.
TEST_P(Changes, AReadErrorInTheMiddleSpoilsTheDigest) {
  constexpr off_t kSize = 64 << 20;  // more than what is read before the first bytes are here
  support::write_file(file("a"), "");
  ASSERT_EQ(truncate(file("a").c_str(), kSize), 0);
  auto pull = open();
  struct Cutter : MemorySink {
    explicit Cutter(std::string to_cut) : path(std::move(to_cut)) {}
    Result<void> literal(uint64_t /*offset*/, std::span<const std::byte> bytes) override {
      if (literal_bytes == 0) {
        EXPECT_EQ(truncate(path.c_str(), 1000), 0);
      }
      literal_bytes += bytes.size();
      return {};
    }
    std::string path;
  } sink(file("a"));
  pull->session().request_file(*pull->list().find("a"), {}, sink);
  ASSERT_OK(pull->pump_until([&] { return sink.end.has_value(); }));
  EXPECT_EQ(sink.end->status, FileEnd::Status::kBadDigest);
  EXPECT_EQ(sink.literal_bytes, static_cast<uint64_t>(kSize));
  const bool told = std::ranges::any_of(pull->messages, [](const auto& message) {
    return message.first == MessageKind::kError &&
           message.second.find("read errors mapping") != std::string::npos;
  });
  EXPECT_TRUE(told);
  expect_alive(*pull);
}

TEST_P(Changes, NoPermission) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, so that the daemon's \"nobody\" meets another's file";
  auto options = RsyncDaemon::serving(dir_ / "tree");
  options.modules[0].parameters = {{"uid", "nobody"}, {"gid", "nogroup"}};
  RsyncDaemon daemon(options);
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(chmod(file("a").c_str(), 0600), 0);
  const auto got = pull->fetch("a");
  ASSERT_OK(got);
  EXPECT_EQ(got->end->status, FileEnd::Status::kNotSent);
  EXPECT_EQ(got->end->reason.code(), Errc::kPermission) << got->end->reason.message();
  EXPECT_EQ(got->end->reason.os_errno(), EACCES);
  expect_alive(*pull);
}

TEST_P(Changes, ProgramErrorsOfTheCallerAreCaught) {
  auto pull = open();
  MemorySink sink;
  EXPECT_DEATH(pull->session().request_file(*pull->list().find("sub"), {}, sink), "check failed");
  EXPECT_DEATH(pull->session().request_file(1'000'000, {}, sink), "check failed");
}

INSTANTIATE_TEST_SUITE_P(Servers, Changes, testing::Values("daemon", "pipe", "old"),
                         [](const auto& info_) { return info_.param; });

}  // namespace
}  // namespace rsyncfs
