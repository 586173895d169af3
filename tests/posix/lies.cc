// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/lies.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>

namespace rsyncfs::posix_tests {
namespace {

class AppendOverwrites : public Calls {
  int open(const std::string& path, int flags, mode_t mode) override {
    return Calls::open(path, flags & ~O_APPEND, mode);
  }
};

class TruncateKeepsATail : public Calls {
  int ftruncate(int fd, off_t size) override {
    struct stat before {};
    fstat(fd, before);
    const int result = Calls::ftruncate(fd, size);
    if (result == 0 && size > before.st_size) Calls::pwrite(fd, "x", size - 1);
    return result;
  }
  int truncate(const std::string& path, off_t size) override {
    const int fd = Calls::open(path, O_WRONLY, 0);
    if (fd < 0) return Calls::truncate(path, size);
    const int result = ftruncate(fd, size);
    Calls::close(fd);
    return result;
  }
};

class WriteLosesALastByte : public Calls {
  ssize_t pwrite(int fd, std::string_view data, off_t offset) override {
    if (data.size() < 2) return Calls::pwrite(fd, data, offset);
    const ssize_t wrote = Calls::pwrite(fd, data.substr(0, data.size() - 1), offset);
    return wrote < 0 ? wrote : static_cast<ssize_t>(data.size());
  }
};

class PunchDoesNothing : public Calls {
  int fallocate(int fd, int mode, off_t offset, off_t length) override {
    return (mode & FALLOC_FL_PUNCH_HOLE) != 0 ? 0 : Calls::fallocate(fd, mode, offset, length);
  }
};

class AllocatingKeepsTheSize : public Calls {
  int fallocate(int fd, int mode, off_t offset, off_t length) override {
    return Calls::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, offset, length);
  }
};

class CopyLosesALastByte : public Calls {
  ssize_t copy_range(int from, off_t from_offset, int to, off_t to_offset, size_t length) override {
    const ssize_t copied = Calls::copy_range(from, from_offset, to, to_offset, length);
    if (copied > 0) Calls::pwrite(to, std::string_view("\0", 1), to_offset + copied - 1);
    return copied;
  }
};

class MapWritesAreLost : public Calls {
  int map_write(int, std::string_view, off_t) override { return 0; }
};

class ReadsBeyondAPageAreOfTheFirst : public Calls {
  ssize_t pread(int fd, std::span<char> into, off_t offset) override {
    return Calls::pread(fd, into, offset >= 4096 ? offset - 4096 : offset);
  }
};

class NoreplaceReplaces : public Calls {
  int rename(const std::string& from, const std::string& to, unsigned flags) override {
    return Calls::rename(from, to, flags & ~static_cast<unsigned>(RENAME_NOREPLACE));
  }
};

class ExchangeReplaces : public Calls {
  int rename(const std::string& from, const std::string& to, unsigned flags) override {
    return Calls::rename(from, to, flags & ~static_cast<unsigned>(RENAME_EXCHANGE));
  }
};

class RenameMakesANewFile : public Calls {
  int rename(const std::string& from, const std::string& to, unsigned flags) override {
    struct stat old {};
    std::string contents;
    const bool copies =
        flags == 0 && lstat(from, old) == 0 && S_ISREG(old.st_mode) && read_whole(*this, from, contents) == 0;
    const int result = Calls::rename(from, to, flags);
    if (result != 0 || !copies || from == to) return result;
    Calls::unlink(to);
    const int fd = Calls::open(to, O_CREAT | O_WRONLY, old.st_mode & 07777);
    write_all(*this, fd, contents, 0);
    Calls::close(fd);
    return 0;
  }
};

class LinkCopies : public Calls {
  int link(const std::string& from, const std::string& to) override {
    struct stat old {};
    std::string contents;
    const int result = Calls::link(from, to);
    if (result != 0 || lstat(from, old) != 0 || !S_ISREG(old.st_mode) ||
        read_whole(*this, from, contents) != 0) {
      return result;
    }
    Calls::unlink(to);
    const int fd = Calls::open(to, O_CREAT | O_WRONLY, old.st_mode & 07777);
    write_all(*this, fd, contents, 0);
    Calls::close(fd);
    return 0;
  }
};

class UnlinkEmptiesWhatIsOpen : public Calls {
  int unlink(const std::string& path) override {
    struct stat old {};
    if (lstat(path, old) == 0 && S_ISREG(old.st_mode) && old.st_nlink == 1) Calls::truncate(path, 0);
    return Calls::unlink(path);
  }
};

class ModesStay : public Calls {
  int chmod(const std::string& path, mode_t) override {
    struct stat old {};
    return stat(path, old);
  }
};

class OwnersStay : public Calls {
  int chown(const std::string& path, uid_t, gid_t) override {
    struct stat old {};
    return lstat(path, old);
  }
};

class TimesAreOfMicroseconds : public Calls {
  int set_times(const std::string& path, const timespec& access, const timespec& modification) override {
    timespec rounded = modification;
    if (rounded.tv_nsec < 1000000000) rounded.tv_nsec = rounded.tv_nsec / 1000 * 1000;
    return Calls::set_times(path, access, rounded);
  }
};

class XattrsAreLost : public Calls {
  int set_xattr(const std::string& path, const std::string& name, std::string_view value,
                int flags) override {
    const int result = Calls::set_xattr(path, name, value, flags);
    if (result == 0) Calls::remove_xattr(path, name);
    return result;
  }
};

class XattrFlagsAreForgotten : public Calls {
  int set_xattr(const std::string& path, const std::string& name, std::string_view value, int) override {
    return Calls::set_xattr(path, name, value, 0);
  }
};

class RemovedXattrsStay : public Calls {
  int remove_xattr(const std::string& path, const std::string& name) override {
    std::string value;
    const ssize_t result = get_xattr(path, name, value);
    return result < 0 ? static_cast<int>(result) : 0;
  }
};

class ListsForgetALastName : public Calls {
  int list(const std::string& path, std::vector<std::string>& names) override {
    const int result = Calls::list(path, names);
    if (names.size() > 2) names.pop_back();
    return result;
  }
};

class RmdirOfAFullOneExists : public Calls {
  int rmdir(const std::string& path) override {
    const int result = Calls::rmdir(path);
    return result == -ENOTEMPTY ? -EEXIST : result;
  }
};

class WritersKeepTheSetuidBit : public Calls {
  ssize_t pwrite(int fd, std::string_view data, off_t offset) override {
    struct stat old {};
    fstat(fd, old);
    const ssize_t result = Calls::pwrite(fd, data, offset);
    if ((old.st_mode & (S_ISUID | S_ISGID)) != 0) ::fchmod(fd, old.st_mode & 07777);
    return result;
  }
};

struct Lie {
  LieKind kind;
  std::function<std::unique_ptr<Calls>()> make;
};

template <class T>
Lie lie(LieKind kind) {
  return {kind, [] { return std::make_unique<T>(); }};
}

const std::vector<Lie>& lies() {
  static const std::vector<Lie> all = {
      lie<AppendOverwrites>({.name = "append-overwrites", .parity = "create/appending", .tree = true}),
      lie<TruncateKeepsATail>(
          {.name = "truncate-keeps-a-tail", .parity = "contents/truncation", .contents = true, .tree = true}),
      lie<WriteLosesALastByte>({.name = "write-loses-a-last-byte",
                                .parity = "contents/read-and-write",
                                .contents = true,
                                .tree = true}),
      lie<PunchDoesNothing>({.name = "punch-does-nothing", .parity = "ranges/punch", .contents = true}),
      lie<AllocatingKeepsTheSize>(
          {.name = "allocating-keeps-the-size", .parity = "ranges/allocate", .contents = true}),
      lie<CopyLosesALastByte>({.name = "copy-loses-a-last-byte", .parity = "ranges/copy", .contents = true}),
      lie<MapWritesAreLost>({.name = "map-writes-are-lost", .parity = "contents/maps", .contents = true}),
      lie<ReadsBeyondAPageAreOfTheFirst>({.name = "reads-beyond-a-page-are-of-the-first",
                                          .parity = "contents/read-and-write",
                                          .contents = true,
                                          .tree = true}),
      lie<NoreplaceReplaces>({.name = "noreplace-replaces", .parity = "rename/noreplace", .tree = true}),
      lie<ExchangeReplaces>({.name = "exchange-replaces", .parity = "rename/exchange", .tree = true}),
      lie<RenameMakesANewFile>(
          {.name = "rename-makes-a-new-file", .parity = "rename/what-stays", .tree = true}),
      lie<LinkCopies>({.name = "link-copies", .parity = "names/links", .tree = true}),
      lie<UnlinkEmptiesWhatIsOpen>(
          {.name = "unlink-empties-what-is-open", .parity = "names/removed-while-open", .tree = true}),
      lie<ModesStay>({.name = "modes-stay", .parity = "attributes/modes", .tree = true}),
      lie<OwnersStay>({.name = "owners-stay", .parity = "attributes/owners", .needs_root = true}),
      lie<TimesAreOfMicroseconds>(
          {.name = "times-are-of-microseconds", .parity = "attributes/set-times", .tree = true}),
      lie<XattrsAreLost>({.name = "xattrs-are-lost", .parity = "xattr/values", .tree = true}),
      lie<XattrFlagsAreForgotten>(
          {.name = "xattr-flags-are-forgotten", .parity = "xattr/flags", .tree = true}),
      lie<RemovedXattrsStay>({.name = "removed-xattrs-stay", .parity = "xattr/values", .tree = true}),
      lie<ListsForgetALastName>({.name = "lists-forget-a-last-name", .parity = "names/odd", .tree = true}),
      lie<RmdirOfAFullOneExists>(
          {.name = "rmdir-of-a-full-one-exists", .parity = "create/removing-directories", .tree = true}),
      lie<WritersKeepTheSetuidBit>({.name = "writers-keep-the-setuid-bit",
                                    .parity = "permissions/writers-clear-bits",
                                    .needs_root = true}),
  };
  return all;
}

}  // namespace

const std::vector<LieKind>& lie_kinds() {
  static const std::vector<LieKind> kinds = [] {
    std::vector<LieKind> out;
    for (const Lie& each : lies()) out.push_back(each.kind);
    return out;
  }();
  return kinds;
}

std::unique_ptr<Calls> make_lie(std::string_view name) {
  const auto found =
      std::find_if(lies().begin(), lies().end(), [&](const Lie& each) { return each.kind.name == name; });
  return found == lies().end() ? nullptr : found->make();
}

}  // namespace rsyncfs::posix_tests
