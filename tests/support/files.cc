// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <random>

#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

void write_all(int fd, std::string_view contents, uint64_t offset, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t put = pwrite(fd, contents.data(), contents.size(), static_cast<off_t>(offset));
    if (put <= 0) fail_setup_errno("write " + path);
    contents.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
}

int create(const std::string& path, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) fail_setup_errno("create " + path);
  return fd;
}

}  // namespace

void write_file(const std::string& path, std::string_view contents, mode_t mode) {
  const int fd = create(path, mode);
  write_all(fd, contents, 0, path);
  fchmod(fd, mode);
  close(fd);
}

std::string read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_setup_errno("open " + path);
  std::string contents;
  std::array<char, 65536> buffer;
  ssize_t got = 0;
  while ((got = read(fd, buffer.data(), buffer.size())) > 0)
    contents.append(buffer.data(), static_cast<size_t>(got));
  const int error = errno;
  close(fd);
  errno = error;
  if (got < 0) fail_setup_errno("read " + path);
  return contents;
}

void make_dirs(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail_setup("mkdir -p " + path + ": " + error.message());
}

void make_sparse_file(const std::string& path, uint64_t size, std::string_view mark, uint64_t mark_offset) {
  const int fd = create(path, 0644);
  write_all(fd, mark, mark_offset, path);
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) fail_setup_errno("ftruncate " + path);
  close(fd);
}

void set_mtime(const std::string& path, int64_t seconds, int64_t nanoseconds) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  if (utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    fail_setup_errno("utimensat " + path);
}

std::string random_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = random();
    for (size_t k = i; k < size && k < i + 8; ++k, word >>= 8) bytes[k] = static_cast<char>(word & 0xff);
  }
  return bytes;
}

void make_many_files(const std::string& root, int dirs, int files, size_t bytes) {
  make_dirs(root);
  std::array<char, 32> name;
  for (int d = 0; d < dirs; ++d) {
    std::snprintf(name.data(), name.size(), "/d%03d", d);
    const std::string dir = root + name.data();
    make_dirs(dir);
    for (int f = 0; f < files; ++f) {
      std::snprintf(name.data(), name.size(), "/f%04d", f);
      const std::string path = dir + name.data();
      const int fd = create(path, 0644);
      if (bytes > 0)
        write_all(fd, random_bytes(bytes, static_cast<uint64_t>(d) * 1000003U + static_cast<uint64_t>(f)), 0,
                  path);
      close(fd);
    }
  }
}

std::string printable(std::string_view name) {
  std::string out;
  std::array<char, 8> code;
  for (const char byte : name) {
    const auto value = static_cast<unsigned char>(byte);
    if (value >= 0x20 && value < 0x7f && byte != '\\') {
      out += byte;
    } else {
      std::snprintf(code.data(), code.size(), "\\x%02x", static_cast<unsigned>(value));
      out += code.data();
    }
  }
  return out;
}

}  // namespace rsyncfs::support
