// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/tar_gz.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <zlib.h>

#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr size_t kBlock = 512;
constexpr size_t kEndBlocks = 2;
// zlib's windowBits: 15, and 16 for a gzip header.
constexpr int kGzipWindow = 15 + 16;
constexpr int kMemoryLevel = 8;  // zlib's default

// Fields of a header, by their offsets.
struct Header {
  std::array<char, 100> name;
  std::array<char, 8> mode;
  std::array<char, 8> uid;
  std::array<char, 8> gid;
  std::array<char, 12> size;
  std::array<char, 12> mtime;
  std::array<char, 8> checksum;
  char type;
  std::array<char, 100> link;
  std::array<char, 6> magic;
  std::array<char, 2> version;
  std::array<char, 247> rest;
};
static_assert(sizeof(Header) == kBlock);

template <size_t N>
void put_octal(std::array<char, N>& field, uint64_t value) {
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%0*llo", static_cast<int>(N - 1),
                static_cast<unsigned long long>(value));
  std::memcpy(field.data(), digits.data(), N);
}

std::string header_of(const ArchivedFile& file, int64_t time_s) {
  constexpr uint64_t kMode = 0600;
  Header header{};
  file.name.copy(header.name.data(), kMaxArchivedName);
  put_octal(header.mode, kMode);
  put_octal(header.uid, 0);
  put_octal(header.gid, 0);
  put_octal(header.size, file.text.size());
  put_octal(header.mtime, static_cast<uint64_t>(std::max<int64_t>(0, time_s)));
  header.type = '0';
  header.magic = {'u', 's', 't', 'a', 'r', '\0'};
  header.version = {'0', '0'};
  header.checksum.fill(' ');
  std::string bytes(kBlock, '\0');
  std::memcpy(bytes.data(), &header, kBlock);
  uint64_t sum = 0;
  for (const char byte : bytes) sum += static_cast<unsigned char>(byte);
  std::array<char, 7> digits{};
  put_octal(digits, sum);
  std::memcpy(bytes.data() + offsetof(Header, checksum), digits.data(), digits.size());
  return bytes;
}

Result<std::string> gzip(std::string bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                   Z_DEFAULT_STRATEGY) != Z_OK)
    return Error(Errc::kLimit, "zlib: no memory");
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return end == Z_STREAM_END ? Result<std::string>(std::move(out)) : Error(Errc::kLimit, "zlib did not end");
}

}  // namespace

Result<std::string> tar_gz(const std::vector<ArchivedFile>& files, int64_t time_s) {
  std::string tar;
  for (const ArchivedFile& file : files) {
    if (file.name.size() > kMaxArchivedName || file.text.size() > kMaxArchivedBytes)
      return Error(Errc::kLimit, "too long for an archive: " + file.name);
    tar += header_of(file, time_s);
    tar += file.text;
    tar.append((kBlock - file.text.size() % kBlock) % kBlock, '\0');
  }
  tar.append(kEndBlocks * kBlock, '\0');
  return gzip(std::move(tar));
}

Result<void> write_private_file(const std::string& path, std::string_view bytes) {
  // Aside first: whoever looks sees all of it or nothing.
  const std::string aside = path + ".part-" + std::to_string(getpid());
  const UniqueFd fd(open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::os(errno, path);
  while (!bytes.empty()) {
    const ssize_t written = write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : EIO;
      unlink(aside.c_str());
      return Error::os(error, path);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (rename(aside.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  unlink(aside.c_str());
  return Error::os(error, path);
}

}  // namespace rsyncfs
