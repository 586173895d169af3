// SPDX-License-Identifier: GPL-3.0-or-later
// soak MOUNT SOURCE SPARE-DIRECTORY RSYNCFS RESTART-SERVER: a day's work in an hour or less. Threads work at
// random in the mount of SOURCE, another changes SOURCE itself, RSYNCFS (the program) flushes and refreshes,
// and RESTART-SERVER (another) is run now and then. A hundred times the daemon's memory, descriptors and
// store are looked at. Writes a table to standard error, and rows NAME|VALUE|UNIT|LIMIT for
// bench/scenarios/soak to standard output. RSYNCFS_SOAK_OPERATIONS: how many there are in the mount (default
// 1,000,000), and a twentieth more before the first that counts. RSYNCFS_SEED: what is drawn (default:
// another each time; printed).
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/soak/random_work.h"
#include "bench/soak/samples.h"

namespace rsyncfs::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kDefaultOperations = 1'000'000;
constexpr uint64_t kSamples = 100;
constexpr uint64_t kWarmUpSamples = 5;  // of as many operations, and not counted
constexpr size_t kWorkers = 4;
constexpr int kOurs = 26;              // directories that are changed in the mount
constexpr int kTheirs = 6;             // that are changed at the source, and read in the mount
constexpr uint64_t kOthersParts = 20;  // bursts of changes at the source between two looks
constexpr uint64_t kOthersSteps = 8;   // of one burst
constexpr uint64_t kCopyEvery = 3;     // looks
constexpr uint64_t kRefreshEvery = 4;
constexpr uint64_t kRestartEvery = 10;
constexpr const char* kFlushLimit = "--timeout=600";
constexpr int kMostFlushes = 30;
constexpr int kPatientFlushes = 5;  // then what is not sent is removed
constexpr std::chrono::seconds kFlushPause{5};
constexpr std::string_view kGone = "this version of the file is gone from the source";
constexpr std::chrono::milliseconds kPause{1};

struct Answer {
  bool is_success = false;
  std::string text;
};

// Runs a program to its end. What it prints goes through the file `out`, errors as well if `with_errors`.
Answer run(std::vector<std::string> words, const std::string& out, bool with_errors = false) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (with_errors) posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = -1;
  if (error != 0 || ::waitpid(pid, &status, 0) != pid) throw std::runtime_error(words[0] + " cannot be run");
  std::ifstream in(out);
  return {status == 0, {std::istreambuf_iterator<char>(in), {}}};
}

std::vector<std::string> top_directories(const char* prefix, int count) {
  std::vector<std::string> out;
  out.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) out.push_back(prefix + std::to_string(i));
  return out;
}

struct Arguments {
  std::string mount;
  std::string source;
  std::string spare;
  std::string rsyncfs;
  std::string restart_server;
  uint64_t operations = kDefaultOperations;
  uint64_t seed = 0;
};

class Soak {
 public:
  explicit Soak(Arguments arguments);

  // 0 when everything was flat.
  int run_all();

 private:
  void work_until(uint64_t operations);
  void others_until(uint64_t begin, uint64_t end);
  void disturb(uint64_t period);
  void flush();
  void remove_what_cannot_be_sent(const std::string& unsent, std::string_view reason);
  bool remove_conflict_copies();
  std::string must_run(std::vector<std::string> words) const;
  std::string command(const char* verb, std::vector<std::string> more = {}) const;
  int report(double seconds);
  void report_calls() const;
  uint64_t failures() const;

  Arguments arguments_;
  std::vector<std::string> ours_ = top_directories("d", kOurs);
  std::vector<std::string> theirs_ = top_directories("theirs", kTheirs);
  std::vector<std::unique_ptr<RandomWork>> workers_;
  std::unique_ptr<RandomWork> others_;
  std::mt19937_64 random_;
  std::atomic<uint64_t> done_{0};
  uint64_t others_done_ = 0;
  uint64_t conflict_copies_ = 0;
  uint64_t unsendable_ = 0;
  uint64_t failed_flushes_ = 0;
  uint64_t restarts_ = 0;
  std::vector<Sample> samples_;
};

Soak::Soak(Arguments arguments) : arguments_(std::move(arguments)), random_(arguments_.seed) {
  std::vector<std::string> all = ours_;
  all.insert(all.end(), theirs_.begin(), theirs_.end());
  for (size_t i = 0; i < kWorkers; ++i)
    workers_.push_back(std::make_unique<RandomWork>(WorkPlaces{arguments_.mount, ours_, all}, random_()));
  others_ = std::make_unique<RandomWork>(WorkPlaces{arguments_.source, theirs_, all}, random_());
  for (const std::string& name : all) fs::create_directory(fs::path(arguments_.source) / name);
}

std::string Soak::must_run(std::vector<std::string> words) const {
  std::string line;
  for (const std::string& word : words) line += word + " ";
  Answer answer = run(std::move(words), arguments_.spare + "/answer");
  if (!answer.is_success) throw std::runtime_error(line + "failed");
  return std::move(answer.text);
}

std::string Soak::command(const char* verb, std::vector<std::string> more) const {
  std::vector<std::string> words = {arguments_.rsyncfs, verb, arguments_.mount};
  words.insert(words.end(), more.begin(), more.end());
  return must_run(std::move(words));
}

void Soak::flush() {
  for (int i = 0; i < kMostFlushes; ++i) {
    const Answer answer =
        run({arguments_.rsyncfs, "flush", arguments_.mount, kFlushLimit}, arguments_.spare + "/unsent", true);
    if (answer.is_success) return;
    std::fprintf(stderr, "%s\n", answer.text.c_str());
    ++failed_flushes_;
    // What is tried again later may go then; what its version is gone of may not.
    remove_what_cannot_be_sent(answer.text, kGone);
    if (i >= kPatientFlushes) remove_what_cannot_be_sent(answer.text, ": ");
    std::this_thread::sleep_for(kFlushPause);
  }
  throw std::runtime_error("there is always something that cannot be sent");
}

// Somebody wrote a part of a file that was not here, and before the rest was, others changed it at the
// source. What was written is kept, and waits for somebody to decide: here he removes it.
void Soak::remove_what_cannot_be_sent(const std::string& unsent, std::string_view reason) {
  std::istringstream lines(unsent);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  ") || line.find(reason) == std::string::npos) continue;
    std::error_code error;
    const std::string path = line.substr(2, line.find(": ") - 2);
    if (fs::remove(fs::path(arguments_.mount) / path, error)) ++unsendable_;
  }
}

void Soak::work_until(uint64_t operations) {
  std::vector<std::jthread> threads;
  const uint64_t begin = done_;
  for (const auto& worker : workers_) {
    threads.emplace_back([this, operations, &worker] {
      while (done_ < operations) done_ += worker->step();
    });
  }
  others_until(begin, operations);
}

void Soak::others_until(uint64_t begin, uint64_t end) {
  for (uint64_t part = 0; part < kOthersParts; ++part) {
    while (done_ < begin + (end - begin) * part / kOthersParts) std::this_thread::sleep_for(kPause);
    for (uint64_t i = 0; i < kOthersSteps; ++i) others_done_ += others_->step();
    if (part == kOthersParts / 2) disturb(begin / (end - begin));
  }
}

// While the workers go on.
void Soak::disturb(uint64_t period) {
  const auto theirs = [this] { return arguments_.source + "/" + theirs_[random_() % theirs_.size()]; };
  if (period % kCopyEvery == 0) must_run({"rsync", "-a", "--delete", theirs() + "/", theirs() + "/"});
  if (period % kRefreshEvery == 0) command("refresh");
  if (period % kRestartEvery == kRestartEvery - 1) {
    must_run({arguments_.restart_server});
    ++restarts_;
  }
}

// They would become ever more. Whether there were any.
bool Soak::remove_conflict_copies() {
  const uint64_t before = conflict_copies_;
  for (const std::string& top : ours_) {
    const fs::path directory = fs::path(arguments_.mount) / top;
    std::vector<fs::path> copies;
    std::error_code error;
    for (fs::recursive_directory_iterator at(directory, error), last; at != last; at.increment(error)) {
      if (at->path().filename().string().find(".conflict-") != std::string::npos)
        copies.push_back(at->path());
    }
    for (const fs::path& copy : copies) conflict_copies_ += fs::remove_all(copy, error) > 0 ? 1 : 0;
  }
  return conflict_copies_ > before;
}

int Soak::run_all() {
  const auto begin = Clock::now();
  const uint64_t period = arguments_.operations / kSamples;
  command("refresh");
  for (uint64_t i = 1; i <= kWarmUpSamples + kSamples; ++i) {
    work_until(i * period);
    flush();
    if (remove_conflict_copies()) flush();
    const Sample sample = look_at_daemon(done_, command("status", {"--json"}));
    std::fprintf(
        stderr, "%9" PRIu64 " operations, %6.0f s, %8.0f kB resident, %6.0f kB of store, %6.0f of store.db\n",
        done_.load(), std::chrono::duration<double>(Clock::now() - begin).count(),
        sample.values.at("resident memory"), sample.values.at("store, allocated"),
        sample.values.at("store.db"));
    if (i > kWarmUpSamples) samples_.push_back(sample);
  }
  return report(std::chrono::duration<double>(Clock::now() - begin).count());
}

uint64_t Soak::failures() const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) {
    for (const auto& [what, count] : worker->failed()) sum += count;
  }
  return sum;
}

void Soak::report_calls() const {
  std::map<std::string, uint64_t> done;
  std::map<std::string, uint64_t> failed;
  uint64_t refused = 0;
  for (const auto& worker : workers_) {
    for (const auto& [kind, count] : worker->done()) done[kind] += count;
    for (const auto& [what, count] : worker->failed()) failed[what] += count;
    refused += worker->refused();
  }
  for (const auto& [kind, count] : done) std::fprintf(stderr, "%9" PRIu64 " %s\n", count, kind.c_str());
  for (const auto& [what, count] : failed)
    std::fprintf(stderr, "%9" PRIu64 " FAILED %s\n", count, what.c_str());
  std::fprintf(stderr, "%9" PRIu64 " met a name that was not there, or was\n", refused);
  std::fprintf(stderr, "%9" PRIu64 " conflict copies removed\n", conflict_copies_);
  std::fprintf(stderr, "%9" PRIu64 " files removed that could not be sent, %" PRIu64 " flushes that failed\n",
               unsendable_, failed_flushes_);
  std::fprintf(stderr, "%9" PRIu64 " restarts of the server\n", restarts_);
}

int Soak::report(double seconds) {
  report_calls();
  std::fprintf(stderr, "\n%-28s %5s %10s %10s %10s %10s %12s %10s\n", "median of each quarter", "", "first",
               "second", "third", "last", "per 100,000", "limit");
  std::printf("operations in the mount|%" PRIu64 "||\n", done_.load());
  std::printf("operations at the source|%" PRIu64 "||\n", others_done_);
  std::printf("files that could not be sent|%" PRIu64 "||\n", unsendable_);
  std::printf("time|%.0f|s|\n", seconds);
  std::printf("calls that failed|%" PRIu64 "||0\n", failures());
  bool is_flat = failures() == 0;
  for (const Quantity& quantity : quantities()) {
    const Trend of = trend(quantity, samples_);
    const bool over = quantity.is_limited && !of.is_flat();
    is_flat = is_flat && !over;
    std::fprintf(stderr, "%-28s %5s %10.0f %10.0f %10.0f %10.0f %12.1f", quantity.name, quantity.unit,
                 of.quarters[0], of.quarters[1], of.quarters[2], of.quarters[3], of.slope);
    if (quantity.is_limited) std::fprintf(stderr, " %10.0f", of.limit);
    std::fprintf(stderr, "%s\n", over ? "  GROWS" : "");
    if (!quantity.is_limited) continue;
    std::printf("%s: second quarter|%.0f|%s|\n", quantity.name, of.quarters[1], quantity.unit);
    std::printf("%s: last quarter|%.0f|%s|%.0f\n", quantity.name, of.quarters[3], quantity.unit, of.limit);
    std::printf("%s: slope for 100000 operations|%.1f|%s|\n", quantity.name, of.slope, quantity.unit);
  }
  return is_flat ? 0 : 1;
}

uint64_t number_of(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

}  // namespace
}  // namespace rsyncfs::bench

int main(int argc, char** argv) {
  using namespace rsyncfs::bench;
  if (argc != 6) {
    std::fprintf(stderr, "usage: soak MOUNT SOURCE SPARE-DIRECTORY RSYNCFS RESTART-SERVER\n");
    return 2;
  }
  Arguments arguments{argv[1], argv[2], argv[3], argv[4], argv[5]};
  arguments.operations = number_of("RSYNCFS_SOAK_OPERATIONS", kDefaultOperations);
  arguments.seed = number_of("RSYNCFS_SEED", std::random_device{}());
  std::fprintf(stderr, "RSYNCFS_SEED=%" PRIu64 "\n", arguments.seed);
  try {
    return Soak(std::move(arguments)).run_all();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "soak: %s\n", error.what());
    return 1;
  }
}
