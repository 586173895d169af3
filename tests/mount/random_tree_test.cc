// SPDX-License-Identifier: GPL-3.0-or-later
// Random operations on a read-write mount of a real server, compared with a model at once and with the source
// after each flush, while the mount ends, is killed, the server breaks off and others change the source.
// RSYNCFS_SEED and RSYNCFS_TEST_OPERATIONS replay and prolong it.
#include "tests/posix/random_tree.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "tests/mount/struck_directory.h"
#include "tests/mount/writable_mount.h"
#include "tests/support/seed.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs::mount_tests {
namespace {

using posix_tests::ModelCompareOptions;
using posix_tests::RandomTree;
using posix_tests::RandomTreeOptions;
using posix_tests::TreeHook;
using posix_tests::TreeReport;

constexpr uint64_t kOrderlyOperations = 200;
constexpr uint64_t kDisturbedOperations = 150;
constexpr uint64_t kOthersOperations = 8;  // in a row
constexpr int kSharedNames = 4;
constexpr int kLatestStrikeUs = 60'000;

uint64_t operations(uint64_t usual) {
  const char* given = std::getenv("RSYNCFS_TEST_OPERATIONS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : usual;
}

// Times of directories are not sent, but those that a user set.
ModelCompareOptions at_the_source() {
  ModelCompareOptions out;
  out.directory_mtimes = false;
  return out;
}

RandomTreeOptions tree_options(const std::string& directory, uint64_t seed, uint64_t operations) {
  RandomTreeOptions out;
  out.directory = directory;
  out.operations = operations;
  out.seed = seed;
  out.most_names = 120;
  out.links_of_symlinks = false;  // they are separate ones at the source
  out.compare.directory_mtimes = false;
  return out;
}

// Four directories: of the random tree, of what others do with the source, of the same names on both sides,
// and of calls that are struck by a kill.
class Scenario {
 public:
  Scenario(uint64_t seed, uint64_t operations, bool disturbed)
      : random_(seed + 1), struck_(mount_ / "struck") {
    for (const char* name : {"ours", "theirs", "shared", "struck"}) support::make_dirs(mount_.tree() / name);
    for (int i = 0; i < kSharedNames; ++i) support::write_file(shared_name(i), "agreed");
    if (const std::string wrong = mount_.mount_again(); !wrong.empty()) support::fail_setup(wrong);
    if (!wait_for_tree(mount_.mount())) support::fail_setup("the tree is not listed");
    theirs_ = std::make_unique<RandomTree>(tree_options(mount_ / "theirs", seed + 2, operations));
    theirs_->model().root()->mode = S_IFDIR | 0755;
    RandomTreeOptions ours = tree_options(mount_ / "ours", seed, operations);
    add_hooks(ours.hooks, disturbed);
    ours_ = std::make_unique<RandomTree>(std::move(ours));
  }

  TreeReport run() {
    TreeReport report = ours_->run();
    if (report.failure.empty()) report.failure = flush();
    if (report.failure.empty()) report.failure = take_in();
    return report;
  }
  uint64_t struck_calls() const { return struck_.calls(); }
  WritableMount& mount() { return mount_; }

 private:
  void add_hooks(std::vector<TreeHook>& out, bool disturbed);
  std::string shared_name(int i) { return mount_.served() + "/shared/f" + std::to_string(i); }
  template <class... Checks>
  std::string first_wrong(const Checks&... checks) {
    std::string wrong;
    static_cast<void>(((wrong = checks()).empty() && ...));
    return wrong;
  }

  std::string compare_mount() { return ours_->compare(ours_->directory(), at_the_source()); }
  std::string compare_source();
  std::string no_debris();
  std::string flush();
  std::string remount(bool drain);
  std::string kill();
  std::string strike();
  std::string take_in();
  std::string others();
  std::string somebody_else();
  std::string both();
  std::string cut_link();
  std::string outage();

  WritableMount mount_;
  std::mt19937_64 random_;
  StruckDirectory struck_;
  std::unique_ptr<RandomTree> theirs_;
  std::unique_ptr<RandomTree> ours_;
};

void Scenario::add_hooks(std::vector<TreeHook>& out, bool disturbed) {
  const auto add = [&](const char* name, double per_thousand, bool closes_handles, auto run) {
    out.push_back({name, per_thousand, closes_handles, [run](RandomTree&) { return run(); }});
  };
  add("flush", 4, false, [this] { return flush(); });
  add("umount and mount", 2, true, [this] { return remount(true); });
  add("others", 2, false, [this] { return others(); });
  add("somebody else in the same tree", 2, true, [this] { return somebody_else(); });
  add("the same names on both sides", 2, false, [this] { return both(); });
  if (!disturbed) return;
  add("umount at once and mount", 2, true, [this] { return remount(false); });
  add("kill -9", 4, true, [this] { return kill(); });
  add("kill -9 during a call", 2, true, [this] { return strike(); });
  add("link cut", 3, false, [this] { return cut_link(); });
  add("server away", 1, false, [this] { return outage(); });
}

std::string Scenario::compare_source() {
  std::string wrong = ours_->compare(mount_.served() + "/ours", at_the_source());
  return wrong.empty() ? no_debris() : "at the source:\n" + wrong;
}

std::string Scenario::no_debris() {
  for (const auto& entry : std::filesystem::directory_iterator(mount_.served())) {
    const std::string name = entry.path().filename().string();
    if (name != "ours" && name != "theirs" && name != "shared" && name != "struck")
      return "left at the source: " + name;
  }
  return "";
}

std::string Scenario::flush() {
  return first_wrong([this] { return mount_.flush(); }, [this] { return compare_mount(); },
                     [this] { return compare_source(); }, [this] { return mount_.differences("struck"); });
}

std::string Scenario::remount(bool drain) {
  std::string wrong = mount_.unmount(drain);
  if (wrong.empty() && drain) wrong = compare_source();
  if (wrong.empty()) wrong = mount_.mount_again();
  return wrong.empty() ? compare_mount() : wrong;
}

std::string Scenario::kill() {
  mount_.mount().kill9();
  return first_wrong([this] { return mount_.mount_again(); }, [this] { return compare_mount(); });
}

// The calls know nothing of the moment.
std::string Scenario::strike() {
  const pid_t pid = mount_.mount().daemon_pid();
  const std::chrono::microseconds moment(random_() % kLatestStrikeUs);
  std::thread killer([pid, moment] {
    std::this_thread::sleep_for(moment);
    ::kill(pid, SIGKILL);
  });
  std::string wrong = struck_.work(random_);
  killer.join();
  mount_.mount().kill9();
  if (wrong.empty()) wrong = mount_.mount_again();
  if (wrong.empty()) wrong = struck_.check();
  return wrong.empty() ? compare_mount() : wrong;
}

std::string Scenario::take_in() {
  const auto theirs = [this] { return theirs_->compare(theirs_->directory(), at_the_source()); };
  return first_wrong([this] { return mount_.take_in(); }, [this] { return compare_mount(); },
                     [this] { return compare_source(); }, theirs);
}

std::string Scenario::others() {
  return theirs_->change_elsewhere(mount_.served() + "/theirs", kOthersOperations);
}

std::string Scenario::somebody_else() {
  const auto change = [this] {
    return ours_->change_elsewhere(mount_.served() + "/ours", kOthersOperations);
  };
  return first_wrong([this] { return flush(); }, change, [this] { return take_in(); });
}

// Theirs keeps the name, ours is beside it: neither is lost.
std::string Scenario::both() {
  if (std::string wrong = flush(); !wrong.empty()) return wrong;
  const int i = static_cast<int>(random_() % kSharedNames);
  const std::string here = mount_ / "shared/f" + std::to_string(i);
  const std::string theirs = "theirs " + std::to_string(random_());
  const std::string ours = "ours " + std::to_string(random_());
  support::write_file(shared_name(i), theirs);
  support::write_file(here, ours);
  if (std::string wrong = flush(); !wrong.empty()) return wrong;
  std::vector<std::string> copies;
  for (const auto& entry : std::filesystem::directory_iterator(mount_.served() + "/shared")) {
    if (entry.path().string().find(".conflict-") != std::string::npos)
      copies.push_back(entry.path().filename().string());
  }
  if (support::read_file(shared_name(i)) != theirs) return "theirs lost its name";
  if (support::read_file(here) != theirs) return "theirs is not shown";
  if (copies.size() != 1) return std::to_string(copies.size()) + " copies";
  const std::string copy = mount_ / "shared/" + copies[0];
  if (support::read_file(mount_.served() + "/shared/" + copies[0]) != ours) return "the copy is not ours";
  if (support::read_file(copy) != ours) return "the copy is not shown";
  return std::filesystem::remove(copy) ? "" : "the copy cannot be removed";
}

std::string Scenario::cut_link() {
  mount_.tree().server().end_connections();
  return "";
}

std::string Scenario::outage() {
  RsyncDaemon& server = mount_.tree().server();
  server.end_connections();
  server.stop();
  std::this_thread::sleep_for(milliseconds(random_() % 200));
  server.start();
  return "";
}

void expect_as_the_model(uint64_t operations, bool disturbed) {
  Scenario scenario(support::test_seed(), operations, disturbed);
  const TreeReport report = scenario.run();
  EXPECT_EQ(report.failure, "");
  EXPECT_GE(report.operations, operations);  // others' count, too
  for (const auto& [name, count] : report.done) {
    if (name.starts_with("hook: ")) std::printf("%5zu %s\n", static_cast<size_t>(count), name.c_str() + 6);
  }
  std::printf("%zu operations, %zu calls before kills\n", static_cast<size_t>(report.operations),
              static_cast<size_t>(scenario.struck_calls()));
}

TEST(RandomTreeTest, IsThatOfTheModelHereAndAtTheSource) {
  expect_as_the_model(operations(kOrderlyOperations), false);
}

TEST(RandomTreeTest, StaysThatOfTheModelThroughKillsAndOutages) {
  expect_as_the_model(operations(kDisturbedOperations), true);
}

}  // namespace
}  // namespace rsyncfs::mount_tests
