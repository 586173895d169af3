// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes: written, read, mapped.
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tests/posix/parity.h"
#include "tests/support/files.h"

namespace rsyncfs::posix_tests {
namespace {

void read_and_write(Probe& p) {
  const int fd = p.open("a", O_CREAT | O_RDWR);
  const std::string bytes = support::random_bytes(300000, 1);
  p.call("write all", write_all(p.calls(), fd, bytes, 0));
  p.pread(fd, 400000, 0);
  p.pread(fd, 10000, 123456);
  p.pread(fd, 10, 299995);
  p.pread(fd, 10, 300000);
  p.pread(fd, 10, 400000);
  p.pwrite(fd, support::random_bytes(5000, 2), 4095);
  p.pwrite(fd, "", 0);
  p.pwrite(fd, "", 900000);
  p.attributes(fd, "a");
  p.pread(fd, 10, -1);
  p.pwrite(fd, "x", -1);
  p.close(fd);
  p.contents("a");
}

void vectors(Probe& p) {
  const int fd = p.open("a", O_CREAT | O_RDWR);
  std::string one = "one ";
  std::string two = "two ";
  std::array<iovec, 3> parts = {{{one.data(), one.size()}, {nullptr, 0}, {two.data(), two.size()}}};
  p.call("writev", raw(::writev(fd, parts.data(), 3)));
  p.call("pwritev", raw(::pwritev(fd, parts.data(), 3, 100)));
  p.call("preadv", raw(::preadv(fd, parts.data(), 3, 104)));
  p.note("read", one + two);
  p.call("write past", raw(::write(fd, "end", 3)));
  p.close(fd);
  p.contents("a");
}

void positions(Probe& p) {
  p.file("a", "0123456789");
  const int fd = p.open("a", O_RDWR);
  const int copy = ::dup(fd);
  const int other = p.open("a", O_RDWR);
  p.call("SEEK_SET", raw(::lseek(fd, 3, SEEK_SET)));
  p.call("SEEK_CUR of a copy", raw(::lseek(copy, 1, SEEK_CUR)));
  p.call("SEEK_CUR of another", raw(::lseek(other, 1, SEEK_CUR)));
  p.call("SEEK_END", raw(::lseek(fd, -2, SEEK_END)));
  p.write(fd, "abcd");
  p.call("after the write", raw(::lseek(copy, 0, SEEK_CUR)));
  p.call("beyond", raw(::lseek(fd, 100, SEEK_END)));
  p.call("before the beginning", raw(::lseek(fd, -200, SEEK_CUR)));
  p.call("nonsense", raw(::lseek(fd, 0, 77)));
  p.write(copy, "far");
  for (const int each : {fd, copy, other}) p.close(each);
  p.contents("a");
}

void truncation(Probe& p) {
  p.file("a", support::random_bytes(20000, 3));
  p.mkdir("d");
  p.truncate("a", 10001);
  p.contents("a");
  p.truncate("a", 15000);
  p.contents("a");
  p.truncate("a", 15000);
  p.truncate("a", 0);
  p.truncate("a", 5000);
  p.contents("a");
  p.truncate("a", -1);
  p.truncate("d", 0);
  p.truncate("missing", 0);
  p.truncate("a/x", 0);
  const int fd = p.open("a", O_RDWR);
  p.pwrite(fd, support::random_bytes(9000, 4), 0);
  p.ftruncate(fd, 4097);
  p.ftruncate(fd, 8192);
  p.pread(fd, 10000, 0);
  p.ftruncate(fd, -5);
  p.close(fd);
  p.truncate("a", int64_t{5} << 30);
  p.attributes("a");
}

void holes_read_as_zeros(Probe& p) {
  const int fd = p.open("a", O_CREAT | O_RDWR);
  p.pwrite(fd, "begin", 0);
  p.pwrite(fd, "middle", 1000000);
  p.pwrite(fd, "end", (int64_t{5} << 30) + 7);
  p.attributes(fd, "a");
  p.pread(fd, 2000000, 0);
  p.pread(fd, 100000, (int64_t{5} << 30) - 50000);
  p.note("takes less than it says", p.status("a").st_blocks < (int64_t{1} << 30) / 512);
  p.close(fd);
}

void two_handles(Probe& p) {
  const int writer = p.open("a", O_CREAT | O_WRONLY);
  const int reader = p.open("a", O_RDONLY);
  for (int i = 0; i < 5; ++i) {
    p.write(writer, "part " + std::to_string(i) + "; ");
    p.pread(reader, 1000, 0);
  }
  p.truncate("a", 6);
  p.pread(reader, 1000, 0);
  p.write(writer, "after");
  p.pread(reader, 1000, 0);
  p.attributes(reader, "a");
  p.close(writer);
  p.close(reader);
}

void synchronising(Probe& p) {
  p.mkdir("d");
  const int fd = p.open("d/a", O_CREAT | O_RDWR);
  p.pwrite(fd, "contents", 0);
  p.call("fsync", raw(::fsync(fd)));
  p.call("fdatasync", raw(::fdatasync(fd)));
  p.call("sync_file_range", raw(::sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE)));
  p.call("syncfs", raw(::syncfs(fd)));
  p.close(fd);
  const int directory = p.open("d", O_RDONLY | O_DIRECTORY);
  p.call("fsync of a directory", raw(::fsync(directory)));
  p.close(directory);
  const int synced = p.open("d/a", O_WRONLY | O_DSYNC);
  p.pwrite(synced, "C", 0);
  p.close(synced);
  const int reader = p.open("d/a", O_RDONLY);
  p.call("fsync of a reader", raw(::fsync(reader)));
  p.pread(reader, 20, 0);
  p.close(reader);
}

void direct(Probe& p) {
  constexpr size_t kBlock = 4096;
  const int fd = Probe::may_refuse(p.open("a", O_CREAT | O_RDWR | O_DIRECT), {EINVAL}, "O_DIRECT");
  const std::unique_ptr<char, decltype(&std::free)> memory(
      static_cast<char*>(std::aligned_alloc(kBlock, 4 * kBlock)), &std::free);
  const std::span<char> buffer(memory.get(), 4 * kBlock);
  std::memset(buffer.data(), 'd', buffer.size());
  p.call("write", p.calls().pwrite(fd, {buffer.data(), 3 * kBlock}, 0));
  const int cached = p.open("a", O_RDWR);
  p.pread(cached, 20000, 0);
  p.pwrite(cached, "cached", kBlock);
  const auto got = p.call("read", p.calls().pread(fd, buffer, 0));
  p.note("bytes", summary({buffer.data(), got < 0 ? 0 : static_cast<size_t>(got)}));
  p.call("write far", p.calls().pwrite(fd, {buffer.data(), kBlock}, 8 * kBlock));
  p.call("read beyond", p.calls().pread(fd, buffer, 100 * kBlock));
  p.close(fd);
  p.close(cached);
  p.contents("a");
}

void maps(Probe& p) {
  p.file("a", support::random_bytes(10000, 5));
  const int fd = p.open("a", O_RDWR);
  p.map_read(fd, 10000, 0);
  p.map_write(fd, "through the map", 4090);
  p.pread(fd, 40, 4080);
  p.pwrite(fd, "through the file", 8190);
  p.map_read(fd, 40, 8180);
  p.map_write(fd, "at the end", 9990);
  p.attributes(fd, "a");
  p.close(fd);
  p.contents("a");
  const int reader = p.open("a", O_RDONLY);
  p.map_write(reader, "x", 0);
  p.map_read(reader, 100, 0);
  p.close(reader);
  const int writer = p.open("a", O_WRONLY);
  p.map_read(writer, 100, 0);
  p.close(writer);
}

void put(char* at, std::string_view bytes) {
  bytes.copy(at, bytes.size());
}

// Mappings outlive what they were made from.
void maps_that_stay(Probe& p) {
  constexpr size_t kSize = 8192;
  p.file("a", support::random_bytes(kSize, 6));
  int fd = p.open("a", O_RDWR);
  char* shared = static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  char* own = static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  if (shared == MAP_FAILED || own == MAP_FAILED) {
    p.call("mmap", -errno);
    return;
  }
  p.close(fd);
  put(shared, "shared");
  put(own + 100, "private");
  p.contents("a");
  p.call("msync", raw(::msync(shared, kSize, MS_SYNC)));
  fd = p.open("a", O_RDWR);
  p.pwrite(fd, "written", 50);
  p.note("the map sees a write", summary({shared + 50, 7}));
  p.rename("a", "b");
  put(shared + 200, "renamed");
  p.contents("b");
  p.unlink("b");
  put(shared + 300, "removed");
  p.pread(fd, kSize, 0);
  p.note("the private one", summary({own + 100, 7}));
  ::munmap(shared, kSize);
  ::munmap(own, kSize);
  p.pread(fd, kSize, 0);
  p.close(fd);
}

void sending(Probe& p) {
  p.file("a", support::random_bytes(100000, 7));
  const int from = p.open("a", O_RDONLY);
  const int to = p.open("b", O_CREAT | O_WRONLY);
  off_t offset = 1000;
  int64_t sent = 0;
  while (true) {
    const int64_t now = raw(::sendfile(to, from, &offset, 50000));
    if (now <= 0) break;
    sent += now;
  }
  p.note("sent", sent);
  p.close(from);
  p.close(to);
  p.contents("b");
}

const ParityCase kCases[] = {
    {"contents/read-and-write", read_and_write},
    {"contents/vectors", vectors},
    {"contents/positions", positions},
    {"contents/truncation", truncation},
    {"contents/holes-read-as-zeros", holes_read_as_zeros},
    {"contents/two-handles", two_handles},
    {"contents/synchronising", synchronising},
    {"contents/direct", direct},
    {"contents/maps", maps},
    {"contents/maps-that-stay", maps_that_stay},
    {"contents/sending", sending},
};

}  // namespace

std::span<const ParityCase> contents_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
