// SPDX-License-Identifier: GPL-3.0-or-later
#include "bench/soak/random_work.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>

namespace rsyncfs::bench {
namespace {

constexpr uint64_t kNames = 60;          // of a directory at the top
constexpr uint64_t kSubdirectories = 4;  // of each of those
constexpr uint64_t kNamesBelow = 15;     // of each of these
constexpr size_t kSmall = 6 << 10;
constexpr size_t kMiddle = 60 << 10;
constexpr size_t kLarge = 400 << 10;
constexpr size_t kLargest = 2500 << 10;  // more than is fetched as a whole
constexpr size_t kPiece = 16 << 10;
constexpr uint64_t kAttributes = 3;
constexpr size_t kMostAttributeBytes = 200;  // lists carry up to 32 of them, a digest of longer ones
constexpr uint64_t kTimes = 1'000'000'000;
constexpr int64_t kFirstTime_s = 1'500'000'000;

// What meets a name that is not what it was drawn for.
bool is_chance(int error) {
  constexpr int kChances[] = {ENOENT, EEXIST, ENOTEMPTY, ENOTDIR, EISDIR, ELOOP, EINVAL, ENODATA, ESTALE};
  return std::find(std::begin(kChances), std::end(kChances), error) != std::end(kChances);
}

}  // namespace

RandomWork::RandomWork(WorkPlaces places, uint64_t seed)
    : places_(std::move(places)), random_(seed), bytes_(2 * kLargest, '\0'), buffer_(kLargest, '\0') {
  // Does not compress, and hardly any two pieces are alike.
  for (size_t at = 0; at + sizeof(uint64_t) <= bytes_.size(); at += sizeof(uint64_t)) {
    const uint64_t value = random_();
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
}

// Makes and removes are in balance: half of the names are there. Of the rest, what computers do most.
const std::vector<RandomWork::Kind>& RandomWork::kinds() {
  static const std::vector<Kind> kAll = {
      {3600, &RandomWork::look},
      {80, &RandomWork::list},
      {80, &RandomWork::read_whole},
      {80, &RandomWork::read_piece},
      {40, &RandomWork::read_attribute},
      {70, &RandomWork::create},
      {10, &RandomWork::save},
      {50, &RandomWork::write_in_the_middle},
      {40, &RandomWork::append},
      {30, &RandomWork::truncate},
      {40, &RandomWork::rename},
      {4, &RandomWork::rename_directory},
      {15, &RandomWork::link},
      {15, &RandomWork::symlink},
      {90, &RandomWork::unlink},
      {12, &RandomWork::make_directory},
      {8, &RandomWork::remove_directory},
      {35, &RandomWork::change_mode},
      {35, &RandomWork::set_times},
      {30, &RandomWork::set_attribute},
      {15, &RandomWork::remove_attribute},
      {8, &RandomWork::use_unlinked},
      {8, &RandomWork::sync},
  };
  return kAll;
}

uint64_t RandomWork::step() {
  static const uint64_t kSum =
      std::accumulate(kinds().begin(), kinds().end(), uint64_t{0},
                      [](uint64_t sum, const Kind& kind) { return sum + kind.weight; });
  now_ = 0;
  uint64_t drawn = below(kSum);
  for (const Kind& kind : kinds()) {
    if (drawn < kind.weight) {
      (this->*kind.step)();
      break;
    }
    drawn -= kind.weight;
  }
  return now_;
}

std::string RandomWork::a_directory(const std::vector<std::string>& tops) {
  std::string path = places_.root + "/" + one_of(tops);
  return below(2) == 0 ? path : path + "/s" + std::to_string(below(kSubdirectories));
}

std::string RandomWork::a_subdirectory() {
  return places_.root + "/" + one_of(places_.changed) + "/s" + std::to_string(below(kSubdirectories));
}

std::string RandomWork::a_name(const std::vector<std::string>& tops) {
  const std::string path = places_.root + "/" + one_of(tops);
  const uint64_t drawn = below(kNames + kSubdirectories * kNamesBelow);
  if (drawn < kNames) return path + "/f" + std::to_string(drawn);
  return path + "/s" + std::to_string(drawn % kSubdirectories) + "/g" + std::to_string(below(kNamesBelow));
}

std::string_view RandomWork::some_bytes(size_t most) {
  const size_t size = 1 + below(most);
  return std::string_view(bytes_).substr(below(bytes_.size() - size), size);
}

size_t RandomWork::some_size() {
  const uint64_t drawn = below(1000);
  if (drawn < 850) return kSmall;
  if (drawn < 980) return kMiddle;
  return drawn < 998 ? kLarge : kLargest;
}

bool RandomWork::did(const char* kind, int64_t result) {
  if (result >= 0) {
    ++now_;
    ++done_[kind];
    return true;
  }
  const int error = errno;
  if (is_chance(error)) {
    ++refused_;
  } else {
    ++failed_[std::string(kind) + ": " + std::strerror(error)];
  }
  return false;
}

// Opening is no operation of its own; that it fails is told.
int RandomWork::open(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd < 0) did("open", fd);
  return fd;
}

void RandomWork::create() {
  const int fd = ::open(a_name(places_.changed).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (!did("create", fd)) return;
  const std::string_view bytes = some_bytes(some_size());
  did("write", ::write(fd, bytes.data(), bytes.size()));
  ::close(fd);
}

// As editors do.
void RandomWork::save() {
  const std::string path = a_name(places_.changed);
  const std::string beside = path + "~";
  const int fd = ::open(beside.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (!did("create", fd)) return;
  const std::string_view bytes = some_bytes(some_size());
  did("write", ::write(fd, bytes.data(), bytes.size()));
  ::close(fd);
  if (!did("rename a file", ::rename(beside.c_str(), path.c_str()))) ::unlink(beside.c_str());
}

void RandomWork::write_in_the_middle() {
  const int fd = open(a_name(places_.changed), O_WRONLY);
  if (fd < 0) return;
  struct stat status {};
  if (did("stat", ::fstat(fd, &status)) && status.st_size > 0) {
    const std::string_view bytes = some_bytes(kPiece);
    const uint64_t offset = below(static_cast<uint64_t>(status.st_size));
    // Only a file's last bytes may make it longer.
    const size_t length = std::min<size_t>(bytes.size(), static_cast<size_t>(status.st_size) - offset + 64);
    did("write in the middle", ::pwrite(fd, bytes.data(), length, static_cast<off_t>(offset)));
  }
  ::close(fd);
}

void RandomWork::append() {
  const int fd = open(a_name(places_.changed), O_WRONLY | O_APPEND);
  if (fd < 0) return;
  struct stat status {};
  if (did("stat", ::fstat(fd, &status)) && status.st_size < static_cast<off_t>(kLargest)) {
    const std::string_view bytes = some_bytes(kSmall);
    did("append", ::write(fd, bytes.data(), bytes.size()));
  }
  ::close(fd);
}

void RandomWork::truncate() {
  const std::string path = a_name(places_.changed);
  struct stat status {};
  if (!did("stat", ::stat(path.c_str(), &status)) || !S_ISREG(status.st_mode)) return;
  const uint64_t most = below(4) == 0 ? kSmall : static_cast<uint64_t>(status.st_size) + 1;
  did("truncate", ::truncate(path.c_str(), static_cast<off_t>(below(most))));
}

void RandomWork::rename() {
  did("rename a file", ::rename(a_name(places_.changed).c_str(), a_name(places_.changed).c_str()));
}

void RandomWork::rename_directory() {
  const unsigned flags = below(2) == 0 ? RENAME_EXCHANGE : 0;
  did("rename a directory",
      ::renameat2(AT_FDCWD, a_subdirectory().c_str(), AT_FDCWD, a_subdirectory().c_str(), flags));
}

// Not of symbolic links: rsync makes separate ones of those.
void RandomWork::link() {
  const std::string path = a_name(places_.changed);
  struct stat status {};
  if (!did("stat", ::lstat(path.c_str(), &status)) || !S_ISREG(status.st_mode)) return;
  did("link", ::link(path.c_str(), a_name(places_.changed).c_str()));
}

void RandomWork::symlink() {
  const std::string target = (below(2) == 0 ? "f" : "g") + std::to_string(below(kNames));
  did("symlink", ::symlink(target.c_str(), a_name(places_.changed).c_str()));
}

void RandomWork::unlink() {
  did("unlink", ::unlink(a_name(places_.changed).c_str()));
}

void RandomWork::make_directory() {
  did("mkdir", ::mkdir(a_subdirectory().c_str(), 0755));
}

void RandomWork::remove_directory() {
  const std::string path = a_subdirectory();
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return static_cast<void>(did("opendir", -1));
  std::vector<std::string> names;
  for (const dirent* entry = nullptr; (entry = ::readdir(directory)) != nullptr;) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(directory);
  const auto child = [&path](const std::string& name) { return path + "/" + name; };
  for (const std::string& name : names) did("unlink", ::unlink(child(name).c_str()));
  did("rmdir", ::rmdir(path.c_str()));
}

void RandomWork::change_mode() {
  constexpr mode_t kModes[] = {0644, 0600, 0755, 0640};
  did("chmod", ::chmod(a_name(places_.changed).c_str(), kModes[below(std::size(kModes))]));
}

void RandomWork::set_times() {
  timespec times[2] = {{0, UTIME_OMIT}, {}};
  times[1].tv_sec = kFirstTime_s + static_cast<time_t>(below(kTimes) / 10);
  times[1].tv_nsec = static_cast<long>(below(kTimes));
  did("utimens", ::utimensat(AT_FDCWD, a_name(places_.changed).c_str(), times, AT_SYMLINK_NOFOLLOW));
}

void RandomWork::set_attribute() {
  const std::string name = "user.n" + std::to_string(below(kAttributes));
  const std::string_view value = some_bytes(kMostAttributeBytes);
  did("setxattr", ::setxattr(a_name(places_.changed).c_str(), name.c_str(), value.data(), value.size(), 0));
}

void RandomWork::read_attribute() {
  const std::string name = "user.n" + std::to_string(below(kAttributes));
  did("getxattr", ::getxattr(a_name(places_.read).c_str(), name.c_str(), buffer_.data(), buffer_.size()));
}

void RandomWork::remove_attribute() {
  const std::string name = "user.n" + std::to_string(below(kAttributes));
  did("removexattr", ::removexattr(a_name(places_.changed).c_str(), name.c_str()));
}

void RandomWork::read_whole() {
  const int fd = open(a_name(places_.read), O_RDONLY);
  if (fd < 0) return;
  ssize_t got = 0;
  do {
    got = ::read(fd, buffer_.data(), buffer_.size());
  } while (got > 0);
  did("read a whole file", got);
  ::close(fd);
}

void RandomWork::read_piece() {
  const int fd = open(a_name(places_.read), O_RDONLY);
  if (fd < 0) return;
  struct stat status {};
  if (did("stat", ::fstat(fd, &status))) {
    const uint64_t offset = below(static_cast<uint64_t>(status.st_size) + 1);
    did("read a piece", ::pread(fd, buffer_.data(), kPiece, static_cast<off_t>(offset)));
  }
  ::close(fd);
}

void RandomWork::list() {
  DIR* directory = ::opendir(a_directory(places_.read).c_str());
  if (directory == nullptr) return static_cast<void>(did("opendir", -1));
  errno = 0;
  while (::readdir(directory) != nullptr) {
  }
  did("readdir", errno == 0 ? 0 : -1);
  ::closedir(directory);
}

void RandomWork::look() {
  struct stat status {};
  did("stat", ::lstat(a_name(places_.read).c_str(), &status));
}

void RandomWork::use_unlinked() {
  const std::string path = a_name(places_.changed);
  const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (!did("create", fd)) return;
  const std::string_view bytes = some_bytes(kSmall);
  did("write", ::write(fd, bytes.data(), bytes.size()));
  did("unlink an open file", ::unlink(path.c_str()));
  did("append", ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(bytes.size())));
  did("read a whole file", ::pread(fd, buffer_.data(), buffer_.size(), 0));
  ::close(fd);
}

void RandomWork::sync() {
  const int fd = open(a_name(places_.changed), O_WRONLY);
  if (fd < 0) return;
  did("fsync", ::fsync(fd));
  ::close(fd);
}

}  // namespace rsyncfs::bench
