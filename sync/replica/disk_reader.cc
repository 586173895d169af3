// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/disk_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// What O_DIRECT asks of places, lengths and memory, on all disks there are.
constexpr uint64_t kAlignment = 4096;

uint64_t align_down(uint64_t offset) {
  return offset / kAlignment * kAlignment;
}
uint64_t align_up(uint64_t offset) {
  return align_down(offset + kAlignment - 1);
}
AlignedBytes allocate(size_t bytes) {
  return AlignedBytes(static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes)));
}

}  // namespace

Result<DiskReader> DiskReader::open(const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
  OwnedFd fd(::open(path.c_str(), kFlags | O_DIRECT));
  const bool direct = static_cast<bool>(fd);
  if (!direct && errno == EINVAL) fd = OwnedFd(::open(path.c_str(), kFlags));
  if (!fd && errno == ENOENT) return Error(Errc::kNotFound, path + " is missing");
  if (!fd) return Error::os(errno, path);
  return DiskReader(std::move(fd), direct);
}

Result<void> DiskReader::read(uint64_t offset, std::span<std::byte> out) {
  if (out.empty()) return {};
  if (direct_) {
    auto done = read_direct(offset, out);
    if (!done) return done.error();
    if (*done) return {};
  }
  return read_all(fd_.get(), out, offset, "reading a content");
}

// False: this file can't be read so.
Result<bool> DiskReader::read_direct(uint64_t offset, std::span<std::byte> out) {
  const uint64_t begin = align_down(offset);
  const size_t length = align_up(offset + out.size()) - begin;
  if (capacity_ < length) {
    buffer_ = allocate(length);
    capacity_ = buffer_ ? length : 0;
    if (!buffer_) return false;
  }
  const size_t wanted = offset - begin + out.size();
  size_t got = 0;
  while (got < wanted) {
    const ssize_t part =
        ::pread(fd_.get(), buffer_.get() + got, length - got, static_cast<off_t>(begin + got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0 && errno == EINVAL) {
      // Not on this file system, or not in the middle of a block where a short read ended.
      const int flags = ::fcntl(fd_.get(), F_GETFL);
      if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT) != 0)
        return Error::os(EIO, "reading a content");
      direct_ = false;
      return false;
    }
    if (part < 0) return Error::os(errno, "reading a content");
    if (part == 0) return Error(Errc::kCorrupt, "a file of the store is too short");
    got += static_cast<size_t>(part);
  }
  std::memcpy(out.data(), buffer_.get() + (offset - begin), out.size());
  return true;
}

bool DiskReads::add(DiskReader& reader, uint64_t offset, size_t length) {
  parts_.clear();
  const size_t size = align_up(offset + length) - align_down(offset);
  if (wanted_.size() >= kMaxParts || (!wanted_.empty() && bytes_ + size > kMaxBytes)) return false;
  wanted_.push_back({&reader, offset, length, bytes_});
  bytes_ += size;
  return true;
}

bool DiskReads::reserve() {
  if (capacity_ >= bytes_) return true;
  memory_ = allocate(bytes_);
  capacity_ = memory_ ? bytes_ : 0;
  return capacity_ != 0;
}

const std::vector<DiskReads::Part>& DiskReads::run() {
  parts_.clear();
  std::vector<FileRead> reads;
  const bool aligned = reserve();
  for (const Wanted& part : wanted_) {
    if (!aligned) break;
    const uint64_t begin = align_down(part.offset);
    const size_t size = align_up(part.offset + part.length) - begin;
    reads.push_back({part.reader->fd(), begin, {memory_.get() + part.at, size}});
  }
  batch_.read(reads);
  size_t others = 0;
  for (size_t i = 0; i < wanted_.size(); ++i) {
    const size_t before = wanted_[i].offset - align_down(wanted_[i].offset);
    const bool there = aligned && reads[i].error == 0 && reads[i].got >= before + wanted_[i].length;
    parts_.push_back({there ? memory_.get() + wanted_[i].at + before : nullptr, wanted_[i].length});
    if (!there) others += wanted_[i].length;
  }
  // What is wrong with these, if anything is, the reader finds out: perhaps they cannot be read past the
  // cache.
  unaligned_.resize(others);
  std::span<std::byte> room(unaligned_);
  for (size_t i = 0; i < wanted_.size() && others > 0; ++i) {
    if (parts_[i].good()) continue;
    const auto out = room.first(wanted_[i].length);
    room = room.subspan(wanted_[i].length);
    if (wanted_[i].reader->read(wanted_[i].offset, out)) parts_[i].bytes = out.data();
  }
  wanted_.clear();
  bytes_ = 0;
  return parts_;
}

}  // namespace rsyncfs
