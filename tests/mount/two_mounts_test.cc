// SPDX-License-Identifier: GPL-3.0-or-later
// Two mounts of one source, each with a store of its own, edit the same files at random. Every edit adds a
// line to what its writer has just read, so whatever was written must in the end be in some file: in the one
// that was edited, or in a conflict copy of it.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "io/base/unique_fd.h"
#include "tests/mount/mount_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr int kFiles = 4;
constexpr seconds kFlushLimit{120};

seconds duration() {
  const char* given = std::getenv("RSYNCFS_TWO_MOUNTS_SECONDS");
  return seconds(given != nullptr ? std::atoi(given) : 8);
}

DaemonOptions writable() {
  DaemonOptions options = RsyncDaemon::serving("");
  options.modules[0].read_only = false;
  return options;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    out.push_back(entry.path().filename().string());
  return out;
}

// To its end: a short read is none.
bool read_all(int fd, std::string& out) {
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t got = pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(out.size()));
    if (got <= 0) return got == 0;
    out.append(buffer.data(), static_cast<size_t>(got));
  }
}

// False also of a version that is gone from the source before it was fetched.
bool is(const std::string& path, const std::string& contents) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  return fd.get() >= 0 && read_all(fd.get(), text) && text == contents;
}

// Lines of all files in a directory, by file.
std::map<std::string, std::set<std::string>> lines_in(const std::string& directory) {
  std::map<std::string, std::set<std::string>> out;
  for (const std::string& name : names_in(directory)) {
    std::istringstream text(support::read_file(directory + "/" + name));
    for (std::string line; std::getline(text, line);) out[name].insert(line);
  }
  return out;
}

class TwoMounts : public ::testing::Test {
 protected:
  TwoMounts() {
    for (int i = 0; i < kFiles; ++i) support::write_file(tree_ / name_of(i), "base\n");
    for (auto& mount : mounts_) mount = std::make_unique<Mount>(tree_.mount_options(kOptions));
  }
  static std::string name_of(uint64_t file) { return "f" + std::to_string(file); }

  // Reads the file and adds a line to it, through one descriptor; or saves it anew as editors do.
  void edit(Mount& mount, const std::string& name, const std::string& line, bool by_rename) {
    const std::string path = mount / name;
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (fd.get() < 0) return;  // theirs took the name this moment
    std::string text;
    if (!read_all(fd.get(), text)) return;  // of a version that is gone
    if (by_rename) {
      const std::string beside = mount / ("." + name + "." + line + ".tmp");
      support::write_file(beside, text + line + "\n");
      // What it takes the place of may be theirs by now: then that is kept as well.
      if (renameat2(AT_FDCWD, beside.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
        unlink(beside.c_str());
        return;
      }
      if (is(beside, text)) {
        unlink(beside.c_str());
      } else {
        rename(beside.c_str(), (mount / (name + ".kept." + line)).c_str());
      }
    } else {
      const std::string added = line + "\n";
      if (pwrite(fd.get(), added.data(), added.size(), static_cast<off_t>(text.size())) !=
          static_cast<ssize_t>(added.size()))
        return;
    }
    written_.insert(line);
  }
  void settle() {
    // Conflicts of one are news for the other.
    for (int round = 0; round < 3; ++round) {
      for (const auto& mount : mounts_) {
        const CommandResult run = mount->command(
            {"flush", mount->path(), "--timeout=" + std::to_string(kFlushLimit.count())}, kFlushLimit * 2);
        EXPECT_EQ(run.exit_code, 0) << run.err;
      }
    }
  }
  void expect_all_in(const std::string& directory, const std::string& where) {
    std::set<std::string> found;
    for (const auto& [name, lines] : lines_in(directory)) found.insert(lines.begin(), lines.end());
    std::vector<std::string> lost;
    for (const std::string& line : written_) {
      if (!found.contains(line)) lost.push_back(line);
    }
    EXPECT_THAT(lost, ::testing::IsEmpty()) << where;
  }

  inline static const std::vector<std::string> kOptions = {"writeback_delay=100ms", "timeout=20"};
  ServedTree tree_{writable()};
  std::array<std::unique_ptr<Mount>, 2> mounts_;
  std::set<std::string> written_;
};

TEST_F(TwoMounts, NoVersionIsLost) {
  std::mt19937_64 random(support::test_seed());
  const auto until = std::chrono::steady_clock::now() + duration();
  for (int edits = 0; std::chrono::steady_clock::now() < until; ++edits) {
    const size_t which = random() % mounts_.size();
    const std::string file = name_of(random() % kFiles);
    const bool by_rename = random() % 4 == 0;
    edit(*mounts_[which], file,
         file + (by_rename ? "r" : "w") + std::to_string(which) + "e" + std::to_string(edits), by_rename);
    std::this_thread::sleep_for(milliseconds(random() % 60));
    if (random() % 40 == 0) mounts_[which]->command({"flush", mounts_[which]->path()});
  }
  ASSERT_GT(written_.size(), 20U);
  settle();
  expect_all_in(tree_.path(), "at the source");
  for (auto& mount : mounts_) {
    // The next mount lists the source anew: it shows what is there.
    mount->unmount();
    mount->remount();
    ASSERT_TRUE(wait_for_tree(*mount));
    expect_all_in(mount->path(), "in " + mount->path());
  }
  const std::vector<std::string> left = names_in(tree_.path());
  for (const std::string& name : left) EXPECT_FALSE(name.starts_with(".")) << name << " was left behind";
  std::printf("%zu edits, %zu files in the end\n", written_.size(), left.size());
}

}  // namespace
}  // namespace rsyncfs::mount_tests
