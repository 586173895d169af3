// SPDX-License-Identifier: GPL-3.0-or-later
// How long after they are due changes are at the source, behind a link with a delay: push_latency [RTT_MS
// [ROUNDS [CASE]]]. Prints, for each case, the median and all rounds, in milliseconds and in round trips.
// With RSYNCFS_TEST_LOG=1 the log says when each session began, was established, got its list and went
// through it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "io/base/log.h"
#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/unreliable_link.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds kSettle{200};  // sync/engine/pusher.cc
constexpr milliseconds kQuiet{2'500};
constexpr std::chrono::microseconds kLookEvery{300};
constexpr std::chrono::seconds kLongest{60};

template <class T>
T must(Result<T> result) {
  if (result) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::exit(1);
}
void must(const Result<void>& result) {
  if (result) return;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::exit(1);
}

struct Case {
  const char* name;
  bool contents;  // due after writeback_delay, otherwise after names have settled
  std::function<void(const std::string& directory)> before;                 // at the source
  std::function<void(EngineRig& rig, const std::string& directory)> known;  // what users have read before
  std::function<void(EngineRig& rig, const std::string& directory)> change;
  std::function<bool(const std::string& directory)> is_there;  // at the source
};

constexpr size_t kLarge = 16 << 20;
constexpr uint64_t kEditAt = 5 << 20;
constexpr size_t kSmallFiles = 50;
constexpr size_t kSubdirectories = 10;
constexpr size_t kFilesOfEach = 99;

bool edited(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char byte = 0;
  const bool read = fd >= 0 && ::pread(fd, &byte, 1, kEditAt) == 1;
  if (fd >= 0) ::close(fd);
  return read && byte == 'E';
}

bool has_size(const std::string& path, off_t size) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && st.st_size == size;
}

std::vector<Case> cases() {
  std::vector<Case> out;
  out.push_back(
      {"4 KiB edit in 16 MiB", true,
       [](const std::string& at) {
         std::string bytes = support::random_bytes(kLarge, 7);
         bytes[kEditAt] = 'x';
         support::write_file(at + "/large", bytes);
       },
       [](EngineRig& rig, const std::string& at) { must(rig.hydrate(must(rig.find(at + "/large")).id)); },
       [](EngineRig& rig, const std::string& at) {
         const auto node = must(rig.find(at + "/large"));
         const std::string bytes(4096, 'E');
         must(rig.replica().local().write(node.id, kEditAt, std::as_bytes(std::span(bytes))));
         rig.syncer().note_change(node.id);
       },
       [](const std::string& at) { return edited(at + "/large"); }});
  out.push_back({"a folder renamed", false,
                 [](const std::string& at) {
                   fs::create_directories(at + "/old/sub");
                   for (int i = 0; i < 20; ++i) support::write_file(at + "/old/f" + std::to_string(i), "f");
                   for (int i = 0; i < 5; ++i)
                     support::write_file(at + "/old/sub/g" + std::to_string(i), "g");
                 },
                 [](EngineRig& rig, const std::string& at) { must(rig.find(at + "/old/sub/g0")); },
                 [](EngineRig& rig, const std::string& at) { must(rig.rename(at + "/old", at + "/new")); },
                 [](const std::string& at) {
                   return fs::exists(at + "/new/sub/g4") && fs::exists(at + "/new/f9") &&
                          !fs::exists(at + "/old");
                 }});
  out.push_back(
      {"10 kB saved by rename", true,
       [](const std::string& at) { support::write_file(at + "/source.c", std::string(10'000, 'a')); },
       [](EngineRig& rig, const std::string& at) { must(rig.read_all(at + "/source.c")); },
       [](EngineRig& rig, const std::string& at) {
         must(rig.write(at + "/source.c.new", std::string(10'123, 'b')));
         must(rig.rename(at + "/source.c.new", at + "/source.c"));
       },
       [](const std::string& at) { return has_size(at + "/source.c", 10'123); }});
  out.push_back({"50 new small files", true, [](const std::string& at) { fs::create_directory(at + "/d"); },
                 [](EngineRig& rig, const std::string& at) { must(rig.find(at + "/d")); },
                 [](EngineRig& rig, const std::string& at) {
                   for (size_t i = 0; i < kSmallFiles; ++i)
                     must(rig.write(at + "/d/n" + std::to_string(i), std::string(2'000, 'n')));
                 },
                 [](const std::string& at) {
                   for (size_t i = 0; i < kSmallFiles; ++i) {
                     if (!has_size(at + "/d/n" + std::to_string(i), 2'000)) return false;
                   }
                   return true;
                 }});
  out.push_back({"a tree of 1000 deleted", false,
                 [](const std::string& at) {
                   for (size_t i = 0; i < kSubdirectories; ++i) {
                     const std::string sub = at + "/tree/s" + std::to_string(i);
                     fs::create_directories(sub);
                     for (size_t j = 0; j < kFilesOfEach; ++j)
                       support::write_file(sub + "/f" + std::to_string(j), "f");
                   }
                 },
                 [](EngineRig& rig, const std::string& at) {
                   for (size_t i = 0; i < kSubdirectories; ++i)
                     must(rig.find(at + "/tree/s" + std::to_string(i) + "/f0"));
                 },
                 [](EngineRig& rig, const std::string& at) {
                   for (size_t i = 0; i < kSubdirectories; ++i) {
                     const std::string sub = at + "/tree/s" + std::to_string(i);
                     for (size_t j = 0; j < kFilesOfEach; ++j)
                       must(rig.remove(sub + "/f" + std::to_string(j)));
                     must(rig.remove(sub));
                   }
                   must(rig.remove(at + "/tree"));
                 },
                 [](const std::string& at) { return !fs::exists(at + "/tree"); }});
  return out;
}

class Measure {
 public:
  Measure(milliseconds round_trip, size_t rounds, const std::vector<Case>& cases) : round_trip_(round_trip) {
    for (size_t i = 0; i < cases.size() * rounds; ++i) {
      const std::string directory = tree_ / ("w" + std::to_string(i));
      fs::create_directory(directory);
      cases[i % cases.size()].before(directory);
    }
    auto served = support::RsyncDaemon::serving(tree_.path());
    served.modules[0].read_only = false;
    server_ = std::make_unique<support::RsyncDaemon>(std::move(served));
    link_ = std::make_unique<support::UnreliableLink>(server_->port());
    link_->delay(round_trip / 2);
    rig_ = std::make_unique<EngineRig>("rsync://127.0.0.1:" + std::to_string(link_->port()) + "/m",
                                       store_ / "s", options_);
    must(rig_->start());
    if (!rig_->wait_for_tree()) std::exit(1);
  }

  // Milliseconds from when it is due.
  double run(const Case& one, size_t round) {
    const std::string name = "w" + std::to_string(round);
    one.known(*rig_, name);
    std::this_thread::sleep_for(kQuiet);
    one.change(*rig_, name);
    const auto due = Clock::now() + (one.contents ? options_.writeback_delay : kSettle);
    log_mark(one.name);
    while (!one.is_there(tree_ / name)) {
      std::this_thread::sleep_for(kLookEvery);
      if (Clock::now() > due + kLongest) return -1;
    }
    const double late = std::chrono::duration<double, std::milli>(Clock::now() - due).count();
    log_mark("it is there");
    must(rig_->flush());
    return late;
  }

 private:
  static void log_mark(const char* what) {
    if (std::getenv("RSYNCFS_TEST_LOG") != nullptr) log_debug(std::string("== ") + what);
  }

  const milliseconds round_trip_;
  SyncerOptions options_;
  support::TempDir tree_;
  support::TempDir store_;
  std::unique_ptr<support::RsyncDaemon> server_;
  std::unique_ptr<support::UnreliableLink> link_;
  std::unique_ptr<EngineRig> rig_;
};

int run(milliseconds round_trip, size_t rounds, const std::string& only) {
  auto all = cases();
  std::erase_if(all, [&](const Case& one) { return std::string(one.name).find(only) == std::string::npos; });
  Measure measure(round_trip, rounds, all);
  std::vector<std::vector<double>> late(all.size());
  for (size_t i = 0; i < all.size() * rounds; ++i)
    late[i % all.size()].push_back(measure.run(all[i % all.size()], i));
  const auto trip = static_cast<double>(round_trip.count());
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<double> sorted = late[i];
    std::sort(sorted.begin(), sorted.end());
    const double median = sorted[sorted.size() / 2];
    std::printf("%-24s %7.1f ms %5.2f round trips  [", all[i].name, median, median / trip);
    for (const double one : late[i]) std::printf(" %.0f", one);
    std::printf(" ]\n");
  }
  return 0;
}

}  // namespace
}  // namespace rsyncfs

int main(int argc, char** argv) {
  const int round_trip = argc > 1 ? std::atoi(argv[1]) : 40;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  return rsyncfs::run(std::chrono::milliseconds(std::max(2, round_trip)),
                      static_cast<size_t>(std::max(1, rounds)), argc > 3 ? argv[3] : "");
}
