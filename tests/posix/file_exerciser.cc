// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/file_exerciser.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/posix/probe.h"
#include "tests/support/wait.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr size_t kLogged = 40;  // operations, in a failure
constexpr size_t kPage = 4096;

std::string at(size_t offset, size_t length) {
  return " " + std::to_string(offset) + "+" + std::to_string(length);
}

}  // namespace

const std::vector<FileExerciser::Kind>& FileExerciser::kinds() {
  static const std::vector<Kind> all = {
      {"read", 10, &FileExerciser::read},
      {"read by another", 5, &FileExerciser::read_by_another},
      {"map read", 8, &FileExerciser::map_read},
      {"write", 20, &FileExerciser::write},
      {"append", 4, &FileExerciser::append},
      {"truncate", 6, &FileExerciser::truncate},
      {"truncate by name", 2, &FileExerciser::truncate_by_name},
      {"map write", 12, &FileExerciser::map_write},
      {"punch", 5, &FileExerciser::punch},
      {"zero", 4, &FileExerciser::zero},
      {"allocate", 3, &FileExerciser::allocate},
      {"copy", 8, &FileExerciser::copy},
      {"sync", 2, &FileExerciser::sync},
      {"reopen", 3, &FileExerciser::reopen},
      {"check all", 1, &FileExerciser::check_all},
  };
  return all;
}

FileExerciser::FileExerciser(FileExerciserOptions options)
    : options_(std::move(options)),
      own_calls_(options_.calls == nullptr ? std::make_unique<Calls>() : nullptr),
      calls_(options_.calls == nullptr ? *own_calls_ : *options_.calls),
      random_(options_.seed) {}

FileExerciser::~FileExerciser() {
  close_all();
}

ExerciseReport FileExerciser::run() {
  unsigned weights = 0;
  for (const Kind& kind : kinds()) weights += kind.weight;
  const double begin = support::monotonic_seconds();
  calls_.unlink(options_.path);
  fd_ = calls_.open(options_.path, O_CREAT | O_EXCL | O_RDWR, 0644);
  if (fd_ < 0) fail("cannot be made: " + errno_name(-fd_));
  if (report_.failure.empty()) open_again();
  for (uint64_t i = 0; i < options_.operations && report_.failure.empty(); ++i) {
    if (options_.seconds > 0 && support::monotonic_seconds() - begin >= options_.seconds) break;
    if (options_.pause && options_.pause_every != 0 && i % options_.pause_every == options_.pause_every - 1) {
      close_all();
      log("pause");
      if (const std::string wrong = options_.pause(i); !wrong.empty()) fail(wrong);
      open_again();
      check_all();
    }
    uint64_t draw = below(weights);
    const Kind* chosen = kinds().data();
    for (; draw >= chosen->weight; ++chosen) draw -= chosen->weight;
    ++report_.operations;
    if (report_.refused.count(chosen->name) != 0) continue;
    (this->*chosen->step)();
    if (report_.refused.count(chosen->name) == 0) ++report_.done[chosen->name];
    check_size();
  }
  if (report_.failure.empty()) reopen();
  if (report_.failure.empty()) check_all();
  close_all();
  return report_;
}

uint64_t FileExerciser::below(uint64_t limit) {
  return limit == 0 ? 0 : random_() % limit;
}

FileExerciser::Range FileExerciser::some_range(size_t end) {
  size_t offset = below(end);
  switch (below(6)) {
    case 0:
      offset = offset / kPage * kPage;
      break;
    case 1:
      offset = std::min(end - 1, offset / kPage * kPage + kPage - 1 - below(16));
      break;
    case 2:
      offset = std::min(end - 1, model_.size() - std::min<size_t>(model_.size(), below(64)));
      break;
    default:
      break;
  }
  // Small ones as often as large ones.
  const size_t most = std::min(options_.largest_operation, end - offset);
  size_t length = 1 + below(std::max<size_t>(1, most >> below(14)));
  if (below(6) == 0) length = std::max<size_t>(kPage, length / kPage * kPage);
  return {offset, std::min(length, end - offset)};
}

FileExerciser::Range FileExerciser::existing_range() {
  if (model_.empty()) return {0, 0};
  return some_range(model_.size());
}

std::string FileExerciser::fresh_bytes(size_t length) {
  std::string out(length, '\0');
  uint64_t bits = 0;
  for (size_t i = 0; i < length; ++i) {
    if (i % 8 == 0) bits = random_();
    out[i] = static_cast<char>(bits >> (8 * (i % 8)));
  }
  return out;
}

void FileExerciser::resize(size_t size) {
  model_.resize(size, '\0');
}

void FileExerciser::put(size_t offset, std::string_view bytes) {
  if (model_.size() < offset + bytes.size()) resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), model_.begin() + static_cast<ptrdiff_t>(offset));
}

void FileExerciser::log(const std::string& text) {
  log_.push_back(std::to_string(report_.operations) + " " + text + " (size was " +
                 std::to_string(model_.size()) + ")");
  if (log_.size() > kLogged) log_.pop_front();
}

void FileExerciser::fail(const std::string& what) {
  if (!report_.failure.empty()) return;
  report_.failure = options_.path + ": " + what + "\nseed " + std::to_string(options_.seed) + ", operation " +
                    std::to_string(report_.operations) + "; the last ones:\n";
  for (const std::string& line : log_) report_.failure += "  " + line + "\n";
}

bool FileExerciser::went_well(int64_t result, const char* kind) {
  if (result >= 0) return true;
  if (result == -EOPNOTSUPP || result == -ENODEV) {
    report_.refused.insert(kind);
  } else {
    fail(std::string(kind) + ": " + errno_name(static_cast<int>(-result)));
  }
  return false;
}

void FileExerciser::expect(Range range, std::string_view got, const char* how) {
  const std::string_view wanted = std::string_view(model_).substr(range.offset, range.length);
  if (got == wanted) return;
  const auto different = std::mismatch(wanted.begin(), wanted.end(), got.begin(), got.end());
  const auto where = static_cast<size_t>(different.first - wanted.begin());
  fail(std::string(how) + at(range.offset, range.length) + " gave " + std::to_string(got.size()) +
       " bytes, wrong from " + std::to_string(range.offset + where) + ": " + summary(got.substr(where, 16)) +
       " for " + summary(wanted.substr(where, 16)));
}

void FileExerciser::check(Range range) {
  std::string got(range.length, '\0');
  const ssize_t result = read_all(calls_, fd_, got, static_cast<off_t>(range.offset));
  if (result < 0) return fail("read: " + errno_name(static_cast<int>(-result)));
  got.resize(static_cast<size_t>(result));
  expect(range, got, "read");
}

void FileExerciser::check_size() {
  if (!report_.failure.empty()) return;
  struct stat status {};
  const int result = calls_.fstat(fd_, status);
  if (result < 0) return fail("fstat: " + errno_name(-result));
  if (static_cast<size_t>(status.st_size) != model_.size()) {
    fail("has " + std::to_string(status.st_size) + " bytes, not " + std::to_string(model_.size()));
  }
}

void FileExerciser::open_again() {
  close_all();
  fd_ = calls_.open(options_.path, O_RDWR);
  other_fd_ = calls_.open(options_.path, O_RDONLY);
  if (fd_ < 0 || other_fd_ < 0) fail("open: " + errno_name(-std::min(fd_, other_fd_)));
}

void FileExerciser::close_all() {
  for (int* fd : {&fd_, &other_fd_}) {
    if (*fd >= 0) calls_.close(*fd);
    *fd = -1;
  }
}

void FileExerciser::read() {
  const Range range = existing_range();
  log("read" + at(range.offset, range.length));
  check(range);
}

void FileExerciser::read_by_another() {
  const Range range = existing_range();
  log("read by another" + at(range.offset, range.length));
  std::swap(fd_, other_fd_);
  check(range);
  std::swap(fd_, other_fd_);
}

void FileExerciser::map_read() {
  const Range range = existing_range();
  if (range.length == 0) return;
  log("map read" + at(range.offset, range.length));
  std::string got(range.length, '\0');
  if (went_well(calls_.map_read(fd_, got, static_cast<off_t>(range.offset)), "map read"))
    expect(range, got, "map read");
}

void FileExerciser::write() {
  const Range range = some_range(options_.largest_file);
  log("write" + at(range.offset, range.length));
  const std::string bytes = fresh_bytes(range.length);
  if (!went_well(write_all(calls_, fd_, bytes, static_cast<off_t>(range.offset)), "write")) return;
  put(range.offset, bytes);
  check(range);
}

void FileExerciser::append() {
  if (model_.size() >= options_.largest_file) return;
  const std::string bytes =
      fresh_bytes(1 + below(std::min<size_t>(5000, options_.largest_file - model_.size())));
  const Range range{model_.size(), bytes.size()};
  log("append" + at(range.offset, range.length));
  const int fd = calls_.open(options_.path, O_WRONLY | O_APPEND);
  const int64_t wrote = calls_.write(fd, bytes);
  calls_.close(fd);
  if (!went_well(wrote, "append")) return;
  put(range.offset, std::string_view(bytes).substr(0, static_cast<size_t>(wrote)));
  check({range.offset, static_cast<size_t>(wrote)});
}

void FileExerciser::truncate() {
  const size_t size = below(3) == 0 ? below(options_.largest_file) : existing_range().offset;
  log("truncate to " + std::to_string(size));
  if (went_well(calls_.ftruncate(fd_, static_cast<off_t>(size)), "truncate")) resize(size);
}

void FileExerciser::truncate_by_name() {
  const size_t size = below(options_.largest_file);
  log("truncate by name to " + std::to_string(size));
  if (went_well(calls_.truncate(options_.path, static_cast<off_t>(size)), "truncate by name")) resize(size);
}

void FileExerciser::map_write() {
  const Range range = existing_range();
  if (range.length == 0) return;
  log("map write" + at(range.offset, range.length));
  const std::string bytes = fresh_bytes(range.length);
  if (!went_well(calls_.map_write(fd_, bytes, static_cast<off_t>(range.offset)), "map write")) return;
  put(range.offset, bytes);
  check(range);
}

void FileExerciser::punch() {
  const Range range = some_range(options_.largest_file);
  log("punch" + at(range.offset, range.length));
  const int result = calls_.fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                      static_cast<off_t>(range.offset), static_cast<off_t>(range.length));
  if (!went_well(result, "punch") || range.offset >= model_.size()) return;
  const size_t within = std::min(range.length, model_.size() - range.offset);
  put(range.offset, std::string(within, '\0'));
  check({range.offset, within});
}

void FileExerciser::zero() {
  const Range range = some_range(options_.largest_file);
  const bool keep = below(2) == 0;
  log((keep ? "zero, size kept" : "zero") + at(range.offset, range.length));
  const int result = calls_.fallocate(fd_, FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0),
                                      static_cast<off_t>(range.offset), static_cast<off_t>(range.length));
  if (!went_well(result, "zero")) return;
  const size_t old = model_.size();
  put(range.offset, std::string(range.length, '\0'));
  if (keep) resize(old);
  if (range.offset < model_.size())
    check({range.offset, std::min(range.length, model_.size() - range.offset)});
}

void FileExerciser::allocate() {
  const Range range = some_range(options_.largest_file);
  const bool keep = below(2) == 0;
  log((keep ? "allocate, size kept" : "allocate") + at(range.offset, range.length));
  const int result = calls_.fallocate(fd_, keep ? FALLOC_FL_KEEP_SIZE : 0, static_cast<off_t>(range.offset),
                                      static_cast<off_t>(range.length));
  if (went_well(result, "allocate") && !keep) resize(std::max(model_.size(), range.offset + range.length));
}

void FileExerciser::copy() {
  const Range from = existing_range();
  const size_t to = some_range(options_.largest_file).offset;
  const size_t most = std::min(from.length, options_.largest_file - to);
  // Within one file the ranges must not overlap.
  const size_t length = std::min(most, to >= from.offset ? to - from.offset : from.offset - to);
  if (length == 0) return;
  log("copy" + at(from.offset, length) + " to " + std::to_string(to));
  size_t done = 0;
  while (done < length) {
    const ssize_t copied = calls_.copy_range(fd_, static_cast<off_t>(from.offset + done), fd_,
                                             static_cast<off_t>(to + done), length - done);
    if (!went_well(copied, "copy")) return;
    if (copied == 0) return fail("copy ended after " + std::to_string(done) + " bytes");
    put(to + done, std::string(model_, from.offset + done, static_cast<size_t>(copied)));
    done += static_cast<size_t>(copied);
  }
  check({to, length});
}

void FileExerciser::sync() {
  log("sync");
  went_well(calls_.fsync(fd_), "sync");
}

void FileExerciser::reopen() {
  log("reopen");
  open_again();
}

void FileExerciser::check_all() {
  log("check all");
  // A byte more than there is.
  std::string got(model_.size() + 1, '\0');
  const ssize_t result = read_all(calls_, fd_, got, 0);
  if (result < 0) return fail("read: " + errno_name(static_cast<int>(-result)));
  got.resize(static_cast<size_t>(result));
  expect({0, model_.size()}, got, "read of all");
}

}  // namespace rsyncfs::posix_tests
