// SPDX-License-Identifier: GPL-3.0-or-later
// Everything goes wrong at once: the link delays, stalls, resets and cuts short, the server is stopped,
// killed and started again, the daemon is killed; meanwhile programs work inside, and others outside. In the
// end nothing that was done is lost, and all sides are equal; and nobody hung on the way.
// RSYNCFS_SEED and RSYNCFS_CHAOS_SECONDS replay and prolong it.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "io/base/unique_fd.h"
#include "tests/mount/mount_rig.h"
#include "tests/support/seed.h"
#include "tests/support/unreliable_link.h"

namespace rsyncfs::mount_tests {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr seconds kTimeout{5};
// A call waits no longer than timeout=; one that reads may ask twice.
constexpr seconds kLongestHang{2 * kTimeout.count() + 8};
constexpr seconds kLongestCached{8};  // df, and names that are known, on a busy machine
constexpr seconds kEnd{180};
constexpr size_t kWholeLog = 4 << 20;
constexpr int kNames = 12;
constexpr int kShared = 4;
constexpr char kEndOfLine = 10;

seconds duration() {
  const char* given = std::getenv("RSYNCFS_CHAOS_SECONDS");
  return seconds(given != nullptr ? std::atoi(given) : 20);
}

DaemonOptions writable() {
  DaemonOptions options = RsyncDaemon::serving("");
  options.modules[0].read_only = false;
  return options;
}

// When the calling thread last came back from the kernel; null where nobody watches.
thread_local std::atomic<Clock::time_point>* last_return = nullptr;
void note_return() {
  if (last_return != nullptr) *last_return = Clock::now();
}

// False when any of it did not work.
bool put_file(const std::string& path, const std::string& bytes, int flags) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644));
  note_return();
  if (fd.get() < 0) return false;
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    note_return();
    if (put <= 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

// nullopt: it could not be read; errno says why.
std::optional<std::string> get_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  note_return();
  if (fd.get() < 0) return std::nullopt;
  std::string out;
  std::array<char, 65536> piece{};
  ssize_t got = 0;
  while ((got = ::read(fd.get(), piece.data(), piece.size())) > 0) {
    note_return();
    out.append(piece.data(), static_cast<size_t>(got));
  }
  note_return();
  if (got < 0) return std::nullopt;
  return out;
}

// Says of itself whether it is whole: a number, then bytes that follow from it.
std::string version_of(uint64_t number, size_t size) {
  std::string out = std::to_string(number) + " " + std::to_string(size) + "\n";
  std::mt19937_64 bytes(number);
  while (out.size() < size) out += static_cast<char>('a' + bytes() % 26);
  return out;
}
bool is_version(const std::string& text) {
  uint64_t number = 0;
  size_t size = 0;
  std::istringstream head(text);
  return head >> number >> size && text == version_of(number, size);
}

class Chaos : public ::testing::Test {
 protected:
  Chaos() : seed_(support::test_seed()), link_(tree_.server().port()) {
    for (const char* name : {"ours", "theirs", "shared"}) support::make_dirs(tree_ / name);
    for (int i = 0; i < kShared; ++i) support::write_file(tree_ / shared(i), "base\n");
    for (int i = 0; i < kNames; ++i) support::write_file(tree_ / theirs(i), version_of(1, 100));
    MountOptions options =
        tree_.mount_options({"rw", "timeout=" + std::to_string(kTimeout.count()), "contimeout=2",
                             "writeback_delay=100ms", "max_delete=0", "log_level=debug", "poll=0.3"});
    options.source = "rsync://127.0.0.1:" + std::to_string(link_.port()) + "/m";
    mount_.emplace(std::move(options));
    EXPECT_TRUE(wait_for_tree(*mount_));
  }
  static std::string shared(uint64_t i) { return "shared/f" + std::to_string(i); }
  static std::string theirs(uint64_t i) { return "theirs/n" + std::to_string(i); }

  void complain(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (complaints_.size() < 20) complaints_.push_back(what);
  }
  // Runs `work(random)` again and again on a thread of its own, which is watched.
  template <class Work>
  void begin(const char* name, Work work) {
    const uint64_t seed = seed_ * 31 + threads_.size();
    threads_.emplace_back([this, name, seed, work] {
      const auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
      {
        const std::lock_guard lock(mutex_);
        watched_[tid].name = name;
        last_return = &watched_[tid].since;
      }
      std::mt19937_64 random(seed);
      while (!ending_) {
        work(random);
        note_return();
        const std::lock_guard lock(mutex_);
        ++steps_[name];
      }
      const std::lock_guard lock(mutex_);
      watched_.erase(tid);
    });
  }

  // ---- inside ----
  void write_ours(std::mt19937_64& random);
  void edit_shared(std::mt19937_64& random);
  void read_theirs(std::mt19937_64& random);
  void look(std::mt19937_64& random);
  // ---- outside ----
  void write_theirs(std::mt19937_64& random);
  void append_shared(std::mt19937_64& random);
  void forgive(const std::string& replaced, const std::string& by);
  // ---- around ----
  void strike(std::mt19937_64& random);
  void kill_daemon();
  void watch();
  void heal();
  void check_end();
  std::string union_of_shared(const std::string& root);

  const uint64_t seed_;
  ServedTree tree_{writable()};
  support::UnreliableLink link_;
  std::optional<Mount> mount_;
  std::atomic<bool> ending_{false};
  std::atomic<bool> away_{false};  // the daemon is
  std::atomic<uint64_t> kills_{0};
  std::atomic<uint64_t> cut_{0};
  std::vector<std::thread> threads_;
  std::mutex mutex_;  // guards all below
  std::vector<std::string> complaints_;
  struct Watched {
    std::string name;
    std::atomic<Clock::time_point> since{Clock::now()};
  };
  std::map<pid_t, Watched> watched_;
  std::map<std::string, uint64_t> steps_;
  std::map<int, std::set<std::optional<std::string>>> ours_;  // what each name may have; the writer's
  std::set<std::string> lines_;                               // that were written into shared files
  std::map<std::string, std::string> appended_;               // by others: to what
  uint64_t next_ = 0;
  uint64_t forgiven_ = 0;
};

// Names of our own: after a call that failed because the daemon died, both is possible.
void Chaos::write_ours(std::mt19937_64& random) {
  const int name = static_cast<int>(random() % kNames);
  const std::string path = *mount_ / ("ours/n" + std::to_string(name));
  std::set<std::optional<std::string>>& may_be =
      ours_.try_emplace(name, std::set<std::optional<std::string>>{std::nullopt}).first->second;
  std::optional<std::string> now;
  bool done = false;
  const uint64_t kills = kills_;
  switch (random() % 5) {
    case 0:
      // Without a mount there is nothing at all.
      done = ::unlink(path.c_str()) == 0 || (errno == ENOENT && !away_ && kills == kills_);
      break;
    case 1: {
      now = version_of(random(), random() % 300'000 + 20);
      const std::string spare = path + ".new";
      done = put_file(spare, *now, O_TRUNC) && std::rename(spare.c_str(), path.c_str()) == 0;
      if (!done) ::unlink(spare.c_str());
      break;
    }
    case 2: {
      const std::optional<std::string> before = may_be.size() == 1 ? *may_be.begin() : std::nullopt;
      if (!before) return;
      const std::string more = "more " + std::to_string(random()) + "\n";
      now = *before + more;
      done = put_file(path, more, O_APPEND);
      break;
    }
    default:
      now = version_of(random(), random() % 9'000 + 20);
      done = put_file(path, *now, O_TRUNC);
      if (!done) may_be.insert("");  // emptied, and no more
  }
  if (done) may_be.clear();
  may_be.insert(now);
  if (!done) std::this_thread::sleep_for(milliseconds(50));
  // What is here can be seen at once.
  const std::optional<std::string> seen = get_file(path);
  const bool gone = !seen && errno == ENOENT;
  if ((seen || gone) && !away_ && kills == kills_ && !may_be.contains(seen))
    complain("ours/n" + std::to_string(name) +
             " shows what nobody wrote: " + (seen ? std::to_string(seen->size()) : "nothing"));
  std::this_thread::sleep_for(milliseconds(random() % 30));
}

// As an editor saves: the whole text with one line more. What arrives between reading and saving would be
// replaced by it, as on a local disk: so the names are exchanged, which tells.
void Chaos::edit_shared(std::mt19937_64& random) {
  const std::string path = *mount_ / shared(random() % kShared);
  const std::optional<std::string> text = get_file(path);
  if (!text) return std::this_thread::sleep_for(milliseconds(20));
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    line = "inside " + std::to_string(next_++);
  }
  const std::string spare = path + ".save";
  const std::string mine = *text + line + "\n";
  const uint64_t kills = kills_;
  bool done = put_file(spare, mine, O_TRUNC);
  if (done) {
    done = ::renameat2(AT_FDCWD, spare.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0;
    std::optional<std::string> replaced;
    // A daemon that died may have done it. Without a mount there is nothing at all.
    const auto seen = [&] { return (replaced = get_file(spare)) || (errno == ENOENT && !away_); };
    static_cast<void>(wait_until(seen, kEnd));
    if (replaced && *replaced != mine) forgive(*replaced, mine);
    if (replaced && *replaced == mine) done = false;
  }
  ::unlink(spare.c_str());
  if (done && !away_ && kills == kills_) {
    const std::lock_guard lock(mutex_);
    lines_.insert(line);
  }
  std::this_thread::sleep_for(milliseconds(random() % 200));
}

// What the editor replaced without having seen it.
void Chaos::forgive(const std::string& replaced, const std::string& by) {
  std::istringstream lines(replaced);
  const std::lock_guard lock(mutex_);
  for (std::string line; std::getline(lines, line);) {
    if (("\n" + by).find("\n" + line + "\n") == std::string::npos) forgiven_ += lines_.erase(line);
  }
}

void Chaos::append_shared(std::mt19937_64& random) {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    line = "outside " + std::to_string(next_++);
    lines_.insert(line);
  }
  // Another conflict may have taken the name for a moment.
  const std::string name = shared(random() % kShared);
  const std::string path = tree_ / name;
  for (bool done = false; !done;) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    const std::string text = line + "\n";
    done = fd.get() >= 0 && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    // It may have been replaced after it was opened: then nobody may have noticed what came to it.
    struct stat written {};
    struct stat there {};
    done = done && ::fstat(fd.get(), &written) == 0 && ::stat(path.c_str(), &there) == 0 &&
           written.st_ino == there.st_ino;
    if (!done) std::this_thread::sleep_for(milliseconds(5));
    if (done) {
      const std::lock_guard lock(mutex_);
      appended_[line] = name + ", " + std::to_string(written.st_size) + " bytes of " +
                        std::to_string(written.st_mtim.tv_sec) + "." +
                        std::to_string(written.st_mtim.tv_nsec);
    }
  }
  std::this_thread::sleep_for(milliseconds(random() % 700));
}

void Chaos::write_theirs(std::mt19937_64& random) {
  const std::string path = tree_ / theirs(random() % kNames);
  const size_t size = random() % 8 == 0 ? random() % 3'000'000 + 20 : random() % 20'000 + 20;
  const std::string spare = path + "." + std::to_string(random());
  support::write_file(spare, version_of(random(), size));
  EXPECT_EQ(std::rename(spare.c_str(), path.c_str()), 0);
  std::this_thread::sleep_for(milliseconds(random() % 150));
}

// One version whole, or an honest error.
void Chaos::read_theirs(std::mt19937_64& random) {
  const std::string name = theirs(random() % kNames);
  const std::optional<std::string> text = get_file(*mount_ / name);
  if (text && !is_version(*text)) {
    // A file of which nobody had read anything takes another version in place; who reads it in that very
    // moment may be given as much of it as the one before had. Not for long.
    ++cut_;
    const auto whole = [&] {
      const std::optional<std::string> again = get_file(*mount_ / name);
      return !again || is_version(*again);
    };
    if (!wait_until(whole, seconds(5)))
      complain(name + " is a mix, or cut: " + std::to_string(text->size()) + " bytes of \"" +
               text->substr(0, text->find(kEndOfLine)) + "\"");
  }
  if (!text && errno == ENOENT && !away_) {
    // While the daemon is exchanged there is nothing below the mountpoint.
    std::this_thread::sleep_for(milliseconds(20));
    if (!away_ && ::access((*mount_ / "theirs").c_str(), F_OK) == 0 &&
        ::access((*mount_ / name).c_str(), F_OK) != 0 && errno == ENOENT && !away_)
      complain(name + " is said to be gone");
  }
  std::this_thread::sleep_for(milliseconds(random() % 40));
}

// What is known never waits.
void Chaos::look(std::mt19937_64& random) {
  const auto begin = Clock::now();
  struct statvfs disk {};
  ::statvfs(mount_->path().c_str(), &disk);
  std::error_code error;
  for (fs::directory_iterator at(*mount_ / "ours", error), end; !error && at != end; at.increment(error)) {
  }
  const auto took = Clock::now() - begin;
  if (took > kLongestCached && !away_)
    complain("df and ls of a known directory took " +
             std::to_string(std::chrono::duration_cast<milliseconds>(took).count()) + " ms");
  std::this_thread::sleep_for(milliseconds(random() % 300));
}

void Chaos::kill_daemon() {
  away_ = true;
  ++kills_;
  mount_->kill9();
  const bool back = wait_until([this] { return mount_->try_mount().exit_code == 0; }, seconds(60));
  if (!back) complain("the mount does not come back after a kill");
  away_ = false;
}

void Chaos::strike(std::mt19937_64& random) {
  RsyncDaemon& server = tree_.server();
  const auto a_while = [&](int most_ms) {
    std::this_thread::sleep_for(milliseconds(random() % most_ms + 100));
  };
  switch (random() % 11) {
    case 0:
      link_.delay(milliseconds(random() % 300));
      a_while(3'000);
      break;
    case 1:
      link_.stall();
      a_while(random() % 3 == 0 ? 9'000 : 2'000);
      break;
    case 2:
      link_.freeze();
      a_while(4'000);
      break;
    case 3:
    case 4:
      link_.reset();
      break;
    case 5:
    case 6:
      link_.truncate_after(random() % 200'000);
      a_while(2'000);
      break;
    case 7:
      server.pause();
      a_while(4'000);
      server.resume();
      break;
    case 8:
      server.drop_connections();
      break;
    case 9:
      server.kill9();
      a_while(3'000);
      server.start();
      break;
    default:
      kill_daemon();
  }
  link_.heal();
  a_while(1'500);
}

// Nobody is in the kernel for longer than a request may take.
void Chaos::watch() {
  while (!ending_) {
    std::this_thread::sleep_for(milliseconds(200));
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    for (auto& [tid, of] : watched_) {
      if (now - of.since.load() < kLongestHang || away_) continue;
      std::ifstream wchan("/proc/self/task/" + std::to_string(tid) + "/wchan");
      std::string where;
      wchan >> where;
      if (complaints_.size() < 20)
        complaints_.push_back(
            of.name + " hangs for " +
            std::to_string(std::chrono::duration_cast<seconds>(now - of.since.load()).count()) + " s in " +
            where);
      of.since = now;
    }
  }
}

void Chaos::heal() {
  link_.heal();
  ending_ = true;
  for (std::thread& thread : threads_) thread.join();
}

// Each line of every file of a directory, the copies of conflicts included.
std::string Chaos::union_of_shared(const std::string& root) {
  std::string out;
  for (const auto& entry : fs::directory_iterator(root + "/shared"))
    out += get_file(entry.path().string()).value_or("");
  return out;
}

void Chaos::check_end() {
  const CommandResult flushed = mount_->command(
      {"flush", mount_->path(), "--timeout=" + std::to_string(kEnd.count())}, kEnd + seconds(20));
  EXPECT_EQ(flushed.exit_code, 0) << flushed.err << mount_->log();
  // The first may still be told of what was.
  CommandResult refreshed;
  const auto refresh = [&] {
    return (refreshed = mount_->command({"refresh", mount_->path()}, kEnd)).exit_code == 0;
  };
  EXPECT_TRUE(wait_until(refresh, seconds(60))) << refreshed.err << mount_->log();
  for (const auto& [name, may_be] : ours_) {
    const std::string path = "ours/n" + std::to_string(name);
    const std::optional<std::string> there = get_file(tree_ / path);
    EXPECT_TRUE(may_be.contains(there))
        << path << " at the source: " << (there ? there->size() : 0) << " bytes";
    EXPECT_TRUE(get_file(*mount_ / path) == there) << path;
  }
  const std::string lines = "\n" + union_of_shared(tree_.path());
  std::string lost;
  for (const std::string& line : lines_) {
    if (lines.find("\n" + line + "\n") != std::string::npos) continue;
    lost += line + " (" + appended_[line] + ")\n";
  }
  EXPECT_EQ(lost, "") << mount_->log(kWholeLog);
  support::CompareOptions options;
  options.directory_times = false;
  options.root_itself = false;
  EXPECT_EQ(support::join_lines(support::compare_trees(mount_->path(), tree_.path(), options)), "")
      << mount_->log();
  for (const auto& entry : fs::recursive_directory_iterator(tree_.path())) {
    const std::string name = entry.path().filename().string();
    EXPECT_FALSE(name.starts_with(".rsyncfs-")) << name << " is left at the source";
  }
}

TEST_F(Chaos, NothingIsLostAndNobodyHangs) {
  begin("writer", [this](auto& random) { write_ours(random); });
  begin("editor", [this](auto& random) { edit_shared(random); });
  begin("reader", [this](auto& random) { read_theirs(random); });
  begin("reader", [this](auto& random) { read_theirs(random); });
  begin("looker", [this](auto& random) { look(random); });
  begin("others", [this](auto& random) { write_theirs(random); });
  begin("others' appends", [this](auto& random) { append_shared(random); });
  std::thread watcher([this] { watch(); });
  std::mt19937_64 random(seed_);
  uint64_t strikes = 0;
  const auto end = Clock::now() + duration();
  while (Clock::now() < end) {
    strike(random);
    ++strikes;
  }
  heal();
  watcher.join();
  check_end();
  EXPECT_EQ(support::join_lines(complaints_), "") << mount_->log(kWholeLog);
  std::printf(
      "%zu strikes, %zu of them kill -9 of the daemon; %zu reads cut short for a moment; %zu lines replaced "
      "unseen",
      static_cast<size_t>(strikes), static_cast<size_t>(kills_.load()), static_cast<size_t>(cut_.load()),
      static_cast<size_t>(forgiven_));
  for (const auto& [name, steps] : steps_) std::printf("; %s %zu", name.c_str(), static_cast<size_t>(steps));
  std::printf("\n");
}

}  // namespace
}  // namespace rsyncfs::mount_tests
