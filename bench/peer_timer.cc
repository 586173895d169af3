// SPDX-License-Identifier: GPL-3.0-or-later
// Times single operations in a mount, of rsyncfs or of a peer, against the source's own directory, which is
// on this machine too and is looked at without the link.
//   peer_timer first  MOUNTED SOURCE NAME...              median seconds until the first byte of each is
//   there peer_timer random MOUNTED SOURCE NAME COUNT SEED      seconds of COUNT reads of 4 KiB each at
//   random places: all
//                                                         together, their median, and all of them kAgain
//                                                         times again
// Until the source has what is done in the mount; seconds from its beginning until it was done here, and
// there:
//   peer_timer edit   MOUNTED SOURCE NAME                 4 KiB in the middle of a file
//   peer_timer rename MOUNTED SOURCE NAME                 a directory, to NAME.renamed
//   peer_timer save   MOUNTED SOURCE NAME                 10 kB to a new file that takes the place of another
//   peer_timer create MOUNTED SOURCE NAME COUNT           so many new files of 2 kB in a directory
//   peer_timer remove MOUNTED SOURCE NAME                 a directory and all in it
// Ends with 1 when contents differ, or when the source does not get it.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr size_t kBlock = 4096;
constexpr size_t kSavedBytes = 10'000;
constexpr size_t kNewBytes = 2'000;
constexpr int kAgain = 20;
constexpr std::chrono::milliseconds kLookEvery{1};
constexpr std::chrono::seconds kLongest{120};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "peer_timer: %s\n", what.c_str());
  std::exit(1);
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

UniqueFd open_file(const fs::path& path, int flags) {
  UniqueFd out(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!out) fail(path.string() + ": " + std::generic_category().message(errno));
  return out;
}

std::string read_at(const UniqueFd& file, off_t offset, size_t size) {
  std::string out(size, '\0');
  const ssize_t got = ::pread(file.get(), out.data(), size, offset);
  if (got < 0) fail("read: " + std::generic_category().message(errno));
  out.resize(static_cast<size_t>(got));
  return out;
}

void write_at(const UniqueFd& file, off_t offset, std::string_view bytes) {
  if (::pwrite(file.get(), bytes.data(), bytes.size(), offset) != static_cast<ssize_t>(bytes.size()))
    fail("write: " + std::generic_category().message(errno));
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string random_bytes(size_t size) {
  static std::mt19937_64 random(std::random_device{}());
  std::string out(size, '\0');
  for (char& byte : out) byte = static_cast<char>(random());
  return out;
}

// Closing is part of it: that is when a file system may have to say that it failed.
void write_file(const fs::path& path, std::string_view bytes) {
  const UniqueFd file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  write_at(file, 0, bytes);
}

struct Places {
  fs::path mounted;
  fs::path source;
};

void first(const Places& places, const std::vector<std::string>& names) {
  std::vector<double> took;
  for (const std::string& name : names) {
    const auto begin = Clock::now();
    const std::string byte = read_at(open_file(places.mounted / name, O_RDONLY), 0, 1);
    took.push_back(seconds_since(begin));
    if (byte != read_at(open_file(places.source / name, O_RDONLY), 0, 1)) fail(name + " differs");
  }
  std::printf("%.6f\n", median(took));
}

void random_reads(const Places& places, const std::string& name, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  const uint64_t blocks = fs::file_size(places.source / name) / kBlock;
  std::vector<off_t> offsets(count);
  for (off_t& offset : offsets) offset = static_cast<off_t>(random() % blocks * kBlock);
  const UniqueFd file = open_file(places.mounted / name, O_RDONLY);
  std::vector<double> took;
  std::vector<std::string> read;
  const auto begin = Clock::now();
  for (const off_t offset : offsets) {
    const auto one = Clock::now();
    read.push_back(read_at(file, offset, kBlock));
    took.push_back(seconds_since(one));
  }
  const double all = seconds_since(begin);
  const auto again = Clock::now();
  for (int i = 0; i < kAgain; ++i)
    for (const off_t offset : offsets) read_at(file, offset, kBlock);
  const double second = seconds_since(again);
  const UniqueFd source = open_file(places.source / name, O_RDONLY);
  for (size_t i = 0; i < count; ++i)
    if (read[i] != read_at(source, offsets[i], kBlock)) fail(name + " differs");
  std::printf("%.6f %.6f %.6f\n", all, median(took), second);
}

// Does `change`, and looks until the source `has_it`.
void until_there(const std::function<void()>& change, const std::function<bool()>& has_it) {
  const auto begin = Clock::now();
  change();
  const double here = seconds_since(begin);
  while (!has_it()) {
    if (Clock::now() - begin > kLongest) fail("the source did not get it");
    std::this_thread::sleep_for(kLookEvery);
  }
  std::printf("%.6f %.6f\n", here, seconds_since(begin));
}

void edit(const Places& places, const std::string& name) {
  const auto offset = static_cast<off_t>(fs::file_size(places.source / name) / 2);
  const std::string bytes = random_bytes(kBlock);
  until_there([&] { write_at(open_file(places.mounted / name, O_RDWR), offset, bytes); },
              [&] { return read_at(open_file(places.source / name, O_RDONLY), offset, kBlock) == bytes; });
}

void rename(const Places& places, const std::string& name) {
  const std::string other = name + ".renamed";
  until_there([&] { fs::rename(places.mounted / name, places.mounted / other); },
              [&] { return fs::exists(places.source / other) && !fs::exists(places.source / name); });
}

void save(const Places& places, const std::string& name) {
  const std::string bytes = random_bytes(kSavedBytes);
  const auto change = [&] {
    write_file(places.mounted / (name + "~"), bytes);
    fs::rename(places.mounted / (name + "~"), places.mounted / name);
  };
  until_there(change, [&] { return read_file(places.source / name) == bytes; });
}

void create(const Places& places, const std::string& name, size_t count) {
  std::vector<std::string> contents(count);
  for (std::string& each : contents) each = random_bytes(kNewBytes);
  const auto path = [&name](const fs::path& top, size_t i) {
    return top / name / ("new" + std::to_string(i));
  };
  size_t there = 0;
  until_there(
      [&] {
        for (size_t i = 0; i < count; ++i) write_file(path(places.mounted, i), contents[i]);
      },
      [&] {
        while (there < count && read_file(path(places.source, there)) == contents[there]) ++there;
        return there == count;
      });
}

void remove(const Places& places, const std::string& name) {
  until_there([&] { fs::remove_all(places.mounted / name); },
              [&] { return !fs::exists(places.source / name); });
}

int run(const std::vector<std::string>& words) {
  const auto is = [&words](std::string_view verb, size_t least) {
    return words.size() >= least && words[0] == verb;
  };
  if (words.size() < 4) return 2;
  const Places places{words[1], words[2]};
  const std::string& name = words[3];
  if (is("first", 4)) {
    first(places, {words.begin() + 3, words.end()});
  } else if (is("random", 6)) {
    random_reads(places, name, std::stoul(words[4]), std::stoul(words[5]));
  } else if (is("edit", 4)) {
    edit(places, name);
  } else if (is("rename", 4)) {
    rename(places, name);
  } else if (is("save", 4)) {
    save(places, name);
  } else if (is("create", 5)) {
    create(places, name, std::stoul(words[4]));
  } else if (is("remove", 4)) {
    remove(places, name);
  } else {
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace rsyncfs

int main(int argc, char** argv) {
  try {
    const int status = rsyncfs::run({argv + 1, argv + argc});
    if (status == 2) std::fputs("usage: at the head of bench/peer_timer.cc\n", stderr);
    return status;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "peer_timer: %s\n", problem.what());
    return 1;
  }
}
