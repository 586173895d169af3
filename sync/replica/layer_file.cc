// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/layer_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kCopyBytes = 1 << 20;
constexpr uint64_t kZeroBytes = 64 << 10;

bool is_zero(std::span<const std::byte> data) {
  return data.empty() ||
         (data[0] == std::byte{0} && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

Result<void> write_zeros(int fd, uint64_t begin, uint64_t end) {
  const std::vector<std::byte> zeros(std::min(kZeroBytes, end - begin));
  while (begin < end) {
    const auto part = std::span(zeros).first(std::min<uint64_t>(zeros.size(), end - begin));
    if (auto done = write_all(fd, part, begin, "writing a local change"); !done) return done;
    begin += part.size();
  }
  return {};
}

Result<void> sync_directory(const std::string& path) {
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return Error::os(errno, "syncing " + path);
  return {};
}

}  // namespace

Result<uint64_t> file_length(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return Error::os(errno, "looking at a local change");
  return static_cast<uint64_t>(status.st_size);
}

Result<void> ensure_length(int fd, uint64_t length) {
  auto now = file_length(fd);
  if (!now) return now.error();
  if (*now < length && ftruncate(fd, static_cast<off_t>(length)) != 0)
    return Error::os(errno, "extending a local change");
  return {};
}

Result<void> make_zeros(int fd, uint64_t begin, uint64_t end) {
  auto length = file_length(fd);
  if (!length) return length.error();
  const uint64_t there = std::min(end, *length);
  if (begin < there) {
    int failed = 0;
    do {
      failed = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                         static_cast<off_t>(there - begin));
    } while (failed != 0 && errno == EINTR);
    if (failed != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
      return Error::os(errno, "zeroing a local change");
    if (failed != 0) {
      if (auto done = write_zeros(fd, begin, there); !done) return done;
    }
  }
  return ensure_length(fd, end);
}

Result<void> copy_range(int from, int to, uint64_t begin, uint64_t end) {
  std::vector<std::byte> buffer(std::min(kCopyBytes, end - begin));
  while (begin < end) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), end - begin));
    if (auto done = read_all(from, part, begin, "reading a local change"); !done) return done;
    auto done = is_zero(part) ? make_zeros(to, begin, begin + part.size())
                              : write_all(to, part, begin, "writing a content");
    if (!done) return done;
    begin += part.size();
  }
  return {};
}

Result<void> write_anew(int fd, const LayerExtents& extents) {
  for (const auto& extent : extents.all()) {
    for (uint64_t at = extent.begin; at < extent.end;) {
      const off_t data = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;
      if (data < 0) return Error::os(errno, "reading a local change");
      at = static_cast<uint64_t>(data);
      if (at >= extent.end) break;
      std::vector<std::byte> part(std::min(kCopyBytes, extent.end - at));
      if (auto done = read_all(fd, part, at, "reading a local change"); !done) return done;
      if (auto done = write_all(fd, part, at, "writing a local change"); !done) return done;
      at += part.size();
    }
  }
  return {};
}

Result<void> sync_entries(FileBatch& batch, const std::vector<std::string>& paths) {
  std::set<std::string> directories;
  for (const std::string& path : paths) {
    const std::string directory = path.substr(0, path.rfind('/'));
    directories.insert(directory.substr(0, directory.rfind('/')));
    directories.insert(directory);
  }
  std::vector<OwnedFd> open;
  std::vector<FileSync> syncs;
  const auto sync_open = [&]() -> Result<void> {
    batch.sync(syncs);
    for (const FileSync& sync : syncs) {
      if (sync.error != 0) return Error::os(sync.error, "syncing a directory of the store");
    }
    open.clear();
    syncs.clear();
    return {};
  };
  for (const std::string& path : directories) {
    OwnedFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return Error::os(errno, "syncing " + path);
    syncs.push_back({fd.get(), false});
    open.push_back(std::move(fd));
    if (open.size() < FileBatch::kDepth) continue;
    if (auto done = sync_open(); !done) return done;
  }
  return sync_open();
}

Result<void> sync_directories(const StateDirectory& directory) {
  if (auto done = sync_directory(directory.path()); !done) return done;
  return sync_directory(directory.path() + "/..");
}

Result<void> sync_log(const StateDirectory& directory) {
  const std::string path = directory.database() + "-wal";
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || fdatasync(fd.get()) != 0) return Error::os(errno, "syncing " + path);
  return {};
}

}  // namespace rsyncfs
