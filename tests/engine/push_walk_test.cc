// SPDX-License-Identifier: GPL-3.0-or-later
// Each kind of push is broken off at each of its steps: the link is cut, the server is killed, this process
// is killed, the disk of the source is full. The source then shows old or new; after the retry it has what
// users see here, and nothing else. How far into the conversation is drawn at random and printed; with
// RSYNCFS_TEST_WHOLE=1 all of it is walked through.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/push_rig.h"
#include "tests/engine/push_steps.h"
#include "tests/support/metered_proxy.h"
#include "tests/support/seed.h"
#include "tests/support/small_disk.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr seconds kLimit{60};

constexpr size_t kMostCopies = 400;

bool whole() {
  return std::getenv("RSYNCFS_TEST_WHOLE") != nullptr;
}
// Of each kind of push, where not all are walked through.
size_t few() {
  return 2;
}

// After each piece that passed, and in the middle of each; all of it, or `few` of them at random.
std::vector<uint64_t> breaking_points(const std::vector<uint64_t>& pieces, size_t few,
                                      std::mt19937_64& random) {
  std::vector<uint64_t> all;
  uint64_t begin = 0;
  for (const uint64_t end : pieces) {
    all.push_back(begin);
    if (whole()) all.push_back(begin + 1);
    all.push_back((begin + end) / 2);
    begin = end;
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  if (whole() || all.size() <= few) return all;
  // One of each of equal parts.
  std::vector<uint64_t> out;
  for (size_t i = 0; i < few; ++i) {
    const size_t first = i * all.size() / few;
    const size_t last = (i + 1) * all.size() / few;
    out.push_back(all[first + random() % (last - first)]);
  }
  return out;
}

class PushWalkTest : public PushTest, public testing::WithParamInterface<PushStepCase> {
 protected:
  const PushStepCase& step() const { return GetParam(); }

  // The case once more in a directory of its own, which is returned.
  std::string add_copy() {
    const std::string name = "w" + std::to_string(copies_++);
    fs::create_directory(served(name));
    write_tree(step().before, served(name));
    return name;
  }
  std::string proxied_url() const { return "rsync://127.0.0.1:" + std::to_string(proxy_->port()) + "/m"; }
  void open_proxied() {
    rig_.reset();  // the store has one owner
    rig_ = std::make_unique<EngineRig>(proxied_url(), store_ / "s", options_);
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
  }
  void serve() {
    options_.writeback_delay = seconds(1000);
    server_ = std::make_unique<support::RsyncDaemon>(writable(tree_.path()));
    proxy_ = std::make_unique<support::MeteredProxy>(server_->port());
  }
  // What passes while nothing goes wrong.
  std::vector<uint64_t> unbroken(const std::string& directory) {
    step().change(*rig_, directory);
    proxy_->count();
    flush();
    auto out = proxy_->pieces();
    check_end(directory);
    return out;
  }
  // `event` once more for a connection that was just being made.
  void check_broken(const std::string& directory, const std::function<void()>& event) {
    const auto over = [&] { return !server_->serving(); };
    if (!support::wait_until(over, seconds(5))) event();
    EXPECT_TRUE(support::wait_until(over, kLimit));
    EXPECT_EQ(broken_state(step(), read_tree(served(directory))), "");
  }
  void check_end(const std::string& directory) {
    EXPECT_EQ(tree_difference(step().after, read_tree(served(directory))), "") << "at the source";
    EXPECT_EQ(tree_difference(step().after, read_local_tree(*rig_, directory)), "") << "here";
    EXPECT_TRUE(rig_->replica().pending().conflicts(10)->empty());
    for (const auto& [path, item] : step().after) check_attributes(directory + "/" + path);
  }
  void check_attributes(const std::string& path) {
    const auto node = rig_->find(path);
    ASSERT_TRUE(node.ok()) << path;
    struct stat st {};
    ASSERT_EQ(lstat(served(path).c_str(), &st), 0) << path;
    EXPECT_EQ(st.st_mode, node->attr.mode) << path;
    if (S_ISDIR(st.st_mode)) return;  // what is made in it changes its time, here and there
    EXPECT_EQ(st.st_mtim.tv_sec, node->attr.mtime_s) << path;
    EXPECT_EQ(st.st_mtim.tv_nsec, node->attr.mtime_ns) << path;
  }

  // Breaks off after `bytes` have passed in the way of `event`; then all goes well again.
  void break_off(uint64_t bytes, const std::function<void()>& event) {
    const std::string directory = directories_.back();
    directories_.pop_back();
    SCOPED_TRACE(step().name + " broken off after " + std::to_string(bytes) + " bytes, in " + directory);
    step().change(*rig_, directory);
    proxy_->stop_after(bytes, event);
    std::thread waiting([&] {
      const bool done = support::wait_until([&] { return rig_->flush().ok(); }, kLimit);
      EXPECT_TRUE(done) << ::testing::PrintToString(rig_->status().push.failing);
    });
    if (support::wait_until([&] { return proxy_->stopped(); }, seconds(10))) check_broken(directory, event);
    proxy_->release();
    waiting.join();
    flush();
    check_end(directory);
  }
  void walk(size_t few, const std::function<void()>& event) {
    const uint64_t seed = support::test_seed();
    std::mt19937_64 random(seed);
    serve();
    const size_t copies = whole() ? kMostCopies : few;
    for (size_t i = 0; i < copies; ++i) directories_.push_back(add_copy());
    const std::string first = add_copy();
    open_proxied();
    const auto points = breaking_points(unbroken(first), few, random);
    for (const uint64_t bytes : points) {
      if (directories_.empty() || HasFailure()) return;
      break_off(bytes, event);
    }
  }

  std::unique_ptr<support::ChildProcess> start_process() const {
    return std::make_unique<support::ChildProcess>(
        std::vector<std::string>{RSYNCFS_PUSH_PROCESS, proxied_url(), store_ / "s"});
  }
  // Nothing of the change is pushed.
  void change_only(const std::string& directory) {
    options_.read_only = true;
    open_proxied();
    step().change(*rig_, directory);
    rig_.reset();
    options_.read_only = false;
  }
  // A process that pushes is killed after `bytes` have passed; the next mount goes on.
  void be_killed(uint64_t bytes) {
    const std::string directory = directories_.back();
    directories_.pop_back();
    SCOPED_TRACE(step().name + " broken off after " + std::to_string(bytes) + " bytes, in " + directory);
    change_only(directory);
    std::atomic<pid_t> victim{0};
    proxy_->stop_after(bytes, [&] {
      support::wait_until([&] { return victim != 0; }, kLimit);
      kill(victim, SIGKILL);
      proxy_->cut();
    });
    const auto process = start_process();
    victim = process->pid();
    EXPECT_TRUE(process->wait_for(kLimit));
    check_broken(directory, [this] { proxy_->cut(); });
    proxy_->release();
    open_proxied();
    flush();
    check_end(directory);
  }

  std::unique_ptr<support::MeteredProxy> proxy_;
  std::vector<std::string> directories_;
  int copies_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Steps, PushWalkTest, testing::ValuesIn(push_step_cases()),
                         [](const auto& step) { return step.param.name; });

TEST_P(PushWalkTest, TheLinkIsCut) {
  walk(few(), [this] { proxy_->cut(); });
}

TEST_P(PushWalkTest, TheServerIsKilled) {
  walk(few(), [this] {
    server_->drop_connections();
    proxy_->cut();
  });
}

TEST_P(PushWalkTest, OurProcessIsKilled) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  serve();
  for (size_t i = 0; i < (whole() ? kMostCopies : few()); ++i) directories_.push_back(add_copy());
  const std::string first = add_copy();
  change_only(first);
  proxy_->count();
  ASSERT_EQ(start_process()->wait_for(kLimit) ? 0 : 1, 0);
  const auto pieces = proxy_->pieces();
  for (const uint64_t bytes : breaking_points(pieces, few(), random)) {
    if (directories_.empty() || HasFailure()) return;
    be_killed(bytes);
  }
}

// How much is left, in blocks and in names: less and less trouble, until there is none.
TEST_P(PushWalkTest, TheDiskIsFull) {
  const support::SmallDisk disk(tree_.path(), "64m", 20'000);
  if (!disk.mounted()) GTEST_SKIP() << "needs root, to mount a small disk";
  constexpr size_t kMostRounds = 12;
  serve();
  for (size_t i = 0; i < 2 * kMostRounds; ++i) directories_.push_back(add_copy());
  open_proxied();
  for (const bool names : {false, true}) {
    uint64_t left = 0;
    for (size_t round = 0; round < kMostRounds && !HasFailure(); ++round) {
      const std::string directory = directories_.back();
      directories_.pop_back();
      SCOPED_TRACE(step().name + " with " + std::to_string(left) + (names ? " names" : " blocks") +
                   " left on the source's disk");
      step().change(*rig_, directory);
      names ? disk.fill_names(served("filler"), left) : disk.fill_blocks(served("filler"), left);
      const bool fitted = rig_->flush().ok();
      EXPECT_EQ(broken_state(step(), read_tree(served(directory))), "");
      fs::remove_all(served("filler"));
      EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, kLimit));
      flush();
      check_end(directory);
      if (fitted) break;
      left = names || left < 4 ? left + 1 : left * 2;
    }
  }
}

}  // namespace
}  // namespace rsyncfs
