// SPDX-License-Identifier: GPL-3.0-or-later
// Ranges of a file that are allocated, dropped, looked for or copied.
#include <linux/falloc.h>
#include <unistd.h>

#include "tests/posix/parity.h"
#include "tests/support/files.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr off_t kMiB = 1 << 20;

// A new file of 40000 bytes.
int filled(Probe& p, uint64_t seed) {
  p.file("a", support::random_bytes(40000, seed));
  return p.open("a", O_RDWR);
}

void done(Probe& p, int fd) {
  p.attributes(fd, "a");
  p.close(fd);
  p.contents("a");
}

void allocate(Probe& p) {
  const int fd = filled(p, 1);
  Probe::may_refuse(p.fallocate(fd, 0, 0, 40000), {EOPNOTSUPP}, "fallocate");
  p.attributes(fd, "a");
  p.fallocate(fd, 0, 30000, 30001);
  p.attributes(fd, "a");
  p.fallocate(fd, FALLOC_FL_KEEP_SIZE, 60000, 100000);
  p.attributes(fd, "a");
  p.fallocate(fd, 0, 200000, 1);
  done(p, fd);
}

void allocate_errors(Probe& p) {
  const int fd = filled(p, 2);
  Probe::may_refuse(p.fallocate(fd, 0, 0, 1), {EOPNOTSUPP}, "fallocate");
  p.fallocate(fd, 0, 0, 0);
  p.fallocate(fd, 0, -1, 10);
  p.fallocate(fd, 0, 0, -10);
  p.fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10);
  p.fallocate(fd, 1 << 20, 0, 10);
  const int reader = p.open("a", O_RDONLY);
  p.fallocate(reader, 0, 0, 10);
  p.mkdir("d");
  const int directory = p.open("d", O_RDONLY | O_DIRECTORY);
  p.fallocate(directory, 0, 0, 10);
  p.close(reader);
  p.close(directory);
  done(p, fd);
}

void punch(Probe& p) {
  const int fd = filled(p, 3);
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  Probe::may_refuse(p.fallocate(fd, kMode, 4096, 8192), {EOPNOTSUPP}, "punching holes");
  p.pread(fd, 40000, 0);
  p.fallocate(fd, kMode, 20001, 555);
  p.fallocate(fd, kMode, 39000, 5000);
  p.fallocate(fd, kMode, 100000, 5000);
  p.pread(fd, 40000, 0);
  p.pwrite(fd, "in the hole", 5000);
  done(p, fd);
}

void zero(Probe& p) {
  const int fd = filled(p, 4);
  Probe::may_refuse(p.fallocate(fd, FALLOC_FL_ZERO_RANGE, 4096, 8192), {EOPNOTSUPP}, "zeroing ranges");
  p.fallocate(fd, FALLOC_FL_ZERO_RANGE, 20001, 555);
  p.fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 39000, 5000);
  p.attributes(fd, "a");
  p.fallocate(fd, FALLOC_FL_ZERO_RANGE, 39000, 5000);
  done(p, fd);
}

void collapse(Probe& p) {
  const int fd = filled(p, 5);
  Probe::may_refuse(p.fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 8192), {EOPNOTSUPP}, "collapsing ranges");
  done(p, fd);
}

void insert(Probe& p) {
  const int fd = filled(p, 6);
  Probe::may_refuse(p.fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 8192), {EOPNOTSUPP}, "inserting ranges");
  done(p, fd);
}

void seek_ends(Probe& p) {
  const int fd = filled(p, 7);
  p.call("SEEK_DATA", raw(::lseek(fd, 100, SEEK_DATA)));
  p.call("SEEK_HOLE", raw(::lseek(fd, 100, SEEK_HOLE)));
  p.call("SEEK_DATA at the end", raw(::lseek(fd, 40000, SEEK_DATA)));
  p.call("SEEK_HOLE at the end", raw(::lseek(fd, 40000, SEEK_HOLE)));
  p.call("SEEK_DATA beyond", raw(::lseek(fd, 50000, SEEK_DATA)));
  p.call("SEEK_DATA before", raw(::lseek(fd, -1, SEEK_DATA)));
  p.close(fd);
  const int empty = p.open("empty", O_CREAT | O_RDWR);
  p.call("SEEK_HOLE of nothing", raw(::lseek(empty, 0, SEEK_HOLE)));
  p.call("SEEK_DATA of nothing", raw(::lseek(empty, 0, SEEK_DATA)));
  p.close(empty);
}

void seek_holes(Probe& p) {
  const int fd = p.open("a", O_CREAT | O_RDWR);
  p.pwrite(fd, support::random_bytes(kMiB, 8), 0);
  p.pwrite(fd, support::random_bytes(kMiB, 9), 8 * kMiB);
  p.ftruncate(fd, 16 * kMiB);
  p.call("fsync", raw(::fsync(fd)));
  for (const off_t at : {off_t{0}, kMiB / 2, kMiB, 4 * kMiB, 8 * kMiB, 9 * kMiB, 15 * kMiB}) {
    p.call("SEEK_DATA from " + std::to_string(at), raw(::lseek(fd, at, SEEK_DATA)));
    p.call("SEEK_HOLE from " + std::to_string(at), raw(::lseek(fd, at, SEEK_HOLE)));
  }
  Probe::may_refuse(p.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMiB / 4, kMiB / 4),
                    {EOPNOTSUPP}, "punching holes");
  p.call("SEEK_HOLE of a punched one", raw(::lseek(fd, 0, SEEK_HOLE)));
  p.call("SEEK_DATA after it", raw(::lseek(fd, kMiB / 4, SEEK_DATA)));
  p.close(fd);
}

void copy(Probe& p) {
  const int from = filled(p, 10);
  const int to = p.open("b", O_CREAT | O_RDWR);
  p.copy_range(from, 0, to, 0, 40000);
  p.pread(to, 50000, 0);
  p.copy_range(from, 1001, to, 45000, 3333);
  p.pread(to, 50000, 0);
  p.copy_range(from, 39990, to, 0, 1000);
  p.copy_range(from, 40000, to, 0, 1000);
  p.copy_range(from, 0, from, 20000, 5000);
  p.attributes(to, "b");
  p.close(to);
  p.contents("b");
  done(p, from);
}

void copy_errors(Probe& p) {
  const int fd = filled(p, 11);
  const int reader = p.open("a", O_RDONLY);
  const int appender = p.open("b", O_CREAT | O_WRONLY | O_APPEND);
  p.mkdir("d");
  const int directory = p.open("d", O_RDONLY | O_DIRECTORY);
  p.copy_range(fd, 0, fd, 1000, 5000);
  p.copy_range(fd, 0, reader, 0, 10);
  p.copy_range(appender, 0, fd, 0, 10);
  p.copy_range(fd, 0, appender, 0, 10);
  p.copy_range(directory, 0, fd, 0, 10);
  p.copy_range(fd, 0, -1, 0, 10);
  p.copy_range(fd, -1, fd, 20000, 10);
  for (const int each : {reader, appender, directory}) p.close(each);
  done(p, fd);
}

void copies_hold_their_own(Probe& p) {
  const int from = filled(p, 12);
  const int to = p.open("b", O_CREAT | O_RDWR);
  p.copy_range(from, 0, to, 0, 40000);
  p.pwrite(from, "changed afterwards", 5000);
  p.pwrite(to, "changed too", 9000);
  p.close(to);
  p.contents("b");
  p.unlink("b");
  done(p, from);
}

const ParityCase kCases[] = {
    {"ranges/allocate", allocate},
    {"ranges/allocate-errors", allocate_errors},
    {"ranges/punch", punch},
    {"ranges/zero", zero},
    {"ranges/collapse", collapse},
    {"ranges/insert", insert},
    {"ranges/seek-ends", seek_ends},
    {"ranges/seek-holes", seek_holes},
    {"ranges/copy", copy},
    {"ranges/copy-errors", copy_errors},
    {"ranges/copies-hold-their-own", copies_hold_their_own},
};

}  // namespace

std::span<const ParityCase> range_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
