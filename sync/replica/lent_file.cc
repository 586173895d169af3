// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/lent_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "io/base/log.h"
#include "sync/replica/content_store.h"
#include "sync/replica/layer_file.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// Who still reads the bytes by a map does so for a moment.
constexpr std::chrono::milliseconds kMapsLimit{1'000};
constexpr std::chrono::milliseconds kMapsPause{5};

// Has this process mapped it? Cutting off what a map shows would kill us (SIGBUS).
// Its device is not compared: some file systems have another one there than in stat(2).
bool is_mapped_here(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return true;
  const std::string inode = " " + std::to_string(status.st_ino) + " ";
  const std::string name = path.substr(path.rfind('/'));
  std::ifstream maps("/proc/self/maps");
  if (!maps) return true;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(inode) != std::string::npos && line.find(name) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

LentFile::~LentFile() {
  store_.lent_is_back(*this);
}

Result<void> LentFile::write(uint64_t offset, std::span<const std::byte> data) {
  return write_all(fd_.get(), data, offset, "writing a file that is read by others");
}

Result<void> LentFile::resize(uint64_t size) {
  auto now = file_length(fd_.get());
  if (!now) return now.error();
  return size < *now ? cut(size) : ensure_length(fd_.get(), size);
}

Result<void> LentFile::cut(uint64_t size) {
  const auto end = std::chrono::steady_clock::now() + kMapsLimit;
  const std::string path = store_.block_files().path(block_file_);
  while (is_mapped_here(fd_.get(), path)) {
    if (std::chrono::steady_clock::now() > end) {
      log_warn("a file became shorter while it was being sent: who has it open sees zeros at its end");
      auto now = file_length(fd_.get());
      return now ? make_zeros(fd_.get(), size, *now) : now.error();
    }
    std::this_thread::sleep_for(kMapsPause);
  }
  if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
    return Error::os(errno, "cutting a file that is read by others");
  return {};
}

Result<void> LentFile::allocate(AllocateMode mode, uint64_t offset, uint64_t length, uint64_t size) {
  switch (mode) {
    case AllocateMode::kAllocate:
    case AllocateMode::kAllocateKeepSize:
      return ensure_length(fd_.get(), size);
    case AllocateMode::kPunchHole:
    case AllocateMode::kZeroRange:
    case AllocateMode::kZeroRangeKeepSize:
      break;
  }
  const uint64_t end = std::min(offset + length, size);
  return offset < end ? make_zeros(fd_.get(), offset, end) : Result<void>();
}

Result<void> LentFile::follow_growth(int from, uint64_t begin, uint64_t end) {
  return begin < end ? copy_range(from, fd_.get(), begin, end) : Result<void>();
}

Result<size_t> LentFile::read(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::os(errno, "reading a file that is read by others");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace rsyncfs
