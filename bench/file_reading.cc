// SPDX-License-Identifier: GPL-3.0-or-later
// file_reading sequential|mapped FILE: reads it once from its beginning, by read() or through a map.
// file_reading opened DIRECTORY: opens each file below it, reads its first 4 KiB and closes it. Prints
// seconds.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kHeadBytes = 4096;

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

int open_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  return fd;
}

void read_all(int fd, const std::string& path) {
  std::vector<char> buffer(kReadBytes);
  ssize_t got = 0;
  while ((got = ::read(fd, buffer.data(), buffer.size())) > 0) {
  }
  if (got < 0) fail(path);
}

// Each page is looked at.
uint64_t read_map(int fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) fail(path);
  const auto size = static_cast<size_t>(st.st_size);
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) fail(path);
  uint64_t sum = 0;
  const char* const bytes = static_cast<const char*>(map);
  for (size_t at = 0; at + sizeof sum <= size; at += sizeof sum) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + at, sizeof word);
    sum += word;
  }
  ::munmap(map, size);
  return sum;
}

std::vector<std::string> files_below(const std::string& directory) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return files;
}

void read_heads(const std::vector<std::string>& files) {
  std::vector<char> head(kHeadBytes);
  for (const std::string& path : files) {
    const int fd = open_file(path);
    if (::read(fd, head.data(), head.size()) < 0) fail(path);
    ::close(fd);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string what = argv[1];
  const std::string path = argv[2];
  if (what == "opened") {
    const std::vector<std::string> files = files_below(path);
    const auto begin = Clock::now();
    read_heads(files);
    std::printf("%.6f\n", std::chrono::duration<double>(Clock::now() - begin).count());
    return 0;
  }
  const int fd = open_file(path);
  const auto begin = Clock::now();
  // What it comes to is looked at, so that it is computed.
  uint64_t sum = 1;
  if (what == "mapped") {
    sum = read_map(fd, path);
  } else {
    read_all(fd, path);
  }
  std::printf("%.6f\n", std::chrono::duration<double>(Clock::now() - begin).count());
  ::close(fd);
  return sum != 0 ? 0 : 1;
}
