// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/base/xxh.h"
#include "sync/replica/varint.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// In front of each entry: length and hash of what follows.
struct FrameHead {
  uint64_t length = 0;
  uint64_t hash = 0;
};

uint64_t hash_of(std::string_view bytes) {
  return xxh3_64(std::as_bytes(std::span(bytes)));
}

}  // namespace

Result<JournalFile> JournalFile::open(const std::string& path) {
  OwnedFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::os(errno, path);
  return JournalFile(path, std::move(fd));
}

Result<JournalContents> JournalFile::read() const {
  struct stat status {};
  if (fstat(fd_.get(), &status) != 0) return Error::os(errno, path_);
  std::string all(static_cast<size_t>(status.st_size), '\0');
  if (auto done = read_all(fd_.get(), std::as_writable_bytes(std::span(all)), 0, path_); !done)
    return done.error();
  JournalContents out;
  bool ended = false;
  std::string_view rest = all;
  while (rest.size() >= sizeof(FrameHead)) {
    FrameHead head;
    std::memcpy(&head, rest.data(), sizeof head);
    rest.remove_prefix(sizeof head);
    if (head.length == 0 || head.length > rest.size()) break;
    std::string_view body = rest.substr(0, head.length);
    rest.remove_prefix(head.length);
    const bool whole = hash_of(body) == head.hash;
    const uint64_t number = whole ? take_varint(body).value_or(0) : 0;  // 0: it makes no sense
    const uint64_t last = out.entries.empty() ? 0 : out.entries.back().number;
    ended = ended || number == 0 || (last != 0 && number != last + 1);
    if (!ended) out.entries.push_back({number, std::string(body)});
    out.damaged = out.damaged || (ended && number > last);
  }
  return out;
}

Result<void> JournalFile::append(uint64_t number, std::string_view record) {
  frame_.assign(sizeof(FrameHead), '\0');
  append_varint(frame_, number);
  frame_.append(record);
  const std::string_view body = std::string_view(frame_).substr(sizeof(FrameHead));
  const FrameHead head{body.size(), hash_of(body)};
  std::memcpy(frame_.data(), &head, sizeof head);
  if (auto done = write_all(fd_.get(), std::as_bytes(std::span(frame_)), end_, path_); !done) return done;
  end_ += frame_.size();
  return {};
}

Result<void> JournalFile::erase() {
  end_ = 0;
  if (ftruncate(fd_.get(), 0) != 0) return Error::os(errno, path_);
  return {};
}

Result<std::string> JournalFile::set_aside() {
  std::string aside = path_ + ".damaged";
  if (::rename(path_.c_str(), aside.c_str()) != 0) return Error::os(errno, path_);
  auto anew = open(path_);
  if (!anew) return anew.error();
  *this = std::move(*anew);
  return aside;
}

}  // namespace rsyncfs
