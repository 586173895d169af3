// SPDX-License-Identifier: GPL-3.0-or-later
// How long after somebody has changed a file of the source a mount shows it, and tells those who watch.
// change_latency SOURCE-DIRECTORY MOUNTED-DIRECTORY ROUNDS: replaces files of the first by rename, at random
// moments, while the second is looked into as an editor or a build does. Prints seconds: the median and the
// 99th percentile of both, and the longest.
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr std::chrono::seconds kLongest{60};
constexpr milliseconds kLookEvery{10};
constexpr size_t kFiles = 20;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

bool tells(int watch, const std::string& name) {
  alignas(inotify_event) std::array<char, 65536> buffer{};
  bool told = false;
  ssize_t got = 0;
  while ((got = ::read(watch, buffer.data(), buffer.size())) > 0) {
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      if (event.len > 0 && (event.mask & (IN_MODIFY | IN_CREATE)) != 0)
        told = told || name == buffer.data() + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
  return told;
}

double percentile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(last * part + 0.5)];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: change_latency SOURCE-DIRECTORY MOUNTED-DIRECTORY ROUNDS\n");
    return 2;
  }
  const fs::path source = argv[1];
  const fs::path mounted = argv[2];
  const int rounds = std::atoi(argv[3]);
  const int watch = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (::inotify_add_watch(watch, mounted.c_str(), IN_MODIFY | IN_CREATE | IN_CLOSE_WRITE) < 0) {
    std::perror(mounted.c_str());
    return 1;
  }
  std::mt19937_64 random(std::random_device{}());
  std::vector<double> shown;
  std::vector<double> told;
  // The watch has to be found first.
  std::this_thread::sleep_for(std::chrono::seconds(4));
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(milliseconds(random() % 1500));
    const std::string name = "f" + std::to_string(random() % kFiles);
    const std::string text = std::to_string(random());
    std::ofstream(source / ".tmp") << text;
    tells(watch, "");
    const auto begin = Clock::now();
    fs::rename(source / ".tmp", source / name);
    double shown_after = 0;
    double told_after = 0;
    while ((shown_after == 0 || told_after == 0) && Clock::now() - begin < kLongest) {
      if (told_after == 0 && tells(watch, name)) told_after = seconds_since(begin);
      struct stat st {};
      if (shown_after == 0 && ::stat((mounted / name).c_str(), &st) == 0 && read_file(mounted / name) == text)
        shown_after = seconds_since(begin);
      std::this_thread::sleep_for(kLookEvery);
    }
    if (shown_after == 0 || told_after == 0) {
      std::fprintf(stderr, "a change was not %s within a minute\n", shown_after == 0 ? "shown" : "told");
      return 1;
    }
    shown.push_back(shown_after);
    told.push_back(told_after);
  }
  std::printf("%.3f %.3f %.3f %.3f %.3f %.3f\n", percentile(shown, 0.5), percentile(shown, 0.99),
              percentile(shown, 1), percentile(told, 0.5), percentile(told, 0.99), percentile(told, 1));
  return 0;
}
