// SPDX-License-Identifier: GPL-3.0-or-later
// Links, symbolic links, removed names, odd names and deep ones.
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

void links(Probe& p) {
  p.file("a", "one");
  p.mkdir("d");
  p.link("a", "d/b");
  p.attributes("a");
  p.note("one inode", p.status("a").st_ino == p.status("d/b").st_ino);
  const int fd = p.open("d/b", O_WRONLY);
  p.pwrite(fd, "two", 0);
  p.contents("a");
  p.chmod("a", 0600);
  p.attributes("d/b");
  p.unlink("a");
  p.attributes("d/b");
  p.contents("d/b");
  p.link("d/b", "a");
  p.unlink("d/b");
  p.unlink("a");
  p.attributes(fd, "without a name");
  p.close(fd);
}

void link_errors(Probe& p) {
  p.file("a");
  p.file("b");
  p.mkdir("d");
  p.symlink("nowhere", "dangling");
  p.link("d", "e");
  p.link("a", "b");
  p.link("a", "d");
  p.link("a", "dangling");
  p.link("missing", "c");
  p.link("a", "missing/c");
  p.link("a", "b/c");
  p.link("a", std::string(256, 'l'));
  p.link("dangling", "second");
  p.attributes("second");
  p.target("second");
  p.attributes("a");
  const int fd = p.open("a", O_RDWR);
  p.unlink("a");
  const std::string own = "/proc/self/fd/" + std::to_string(fd);
  p.call("linkat of what has no name",
         raw(::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, p.path("again").c_str(), AT_SYMLINK_FOLLOW)));
  p.close(fd);
}

void many_links(Probe& p) {
  p.file("a", "shared");
  for (int i = 0; i < 100; ++i) p.calls().link(p.path("a"), p.path("l" + std::to_string(i)));
  p.attributes("a");
  for (int i = 0; i < 100; i += 2) p.calls().unlink(p.path("l" + std::to_string(i)));
  p.attributes("l99");
}

void removed_while_open(Probe& p) {
  p.file("a", "first");
  const int fd = p.open("a", O_RDWR);
  p.unlink("a");
  p.attributes(fd, "removed");
  p.pread(fd, 100, 0);
  p.pwrite(fd, " and later", 5);
  p.pread(fd, 100, 0);
  p.ftruncate(fd, 7);
  p.call("fchmod", raw(::fchmod(fd, 0600)));
  p.call("fsync", p.calls().fsync(fd));
  p.file("a", "second");
  p.note("the new one is another", [&] {
    struct stat old {};
    p.calls().fstat(fd, old);
    return old.st_ino != p.status("a").st_ino;
  }());
  p.contents("a");
  p.pread(fd, 100, 0);
  p.attributes(fd, "removed");
  p.close(fd);
  p.contents("a");
}

void unlink_errors(Probe& p) {
  p.file("a");
  p.mkdir("d");
  p.symlink("d", "dlink");
  p.unlink("d");
  p.unlink("d/");
  p.unlink("missing");
  p.unlink("a/x");
  p.unlink("a/");
  p.unlink("dlink/");
  p.unlink("dlink");
  p.unlink(std::string(256, 'u'));
  p.names();
}

void symlinks(Probe& p) {
  for (const size_t size : {1UL, 59UL, 60UL, 255UL, 1000UL, 4095UL, 4096UL}) {
    const std::string name = "long" + std::to_string(size);
    p.symlink(std::string(size, 't'), name);
    p.attributes(name);
    p.target(name);
  }
  p.symlink("", "empty");
  p.symlink("\xff\x01 \n\"'", "odd");
  p.target("odd");
  p.file("a", "contents");
  p.symlink("a", "link");
  p.symlink("b", "link");
  p.symlink("a", "missing/link");
  p.target("a");
  p.target("missing");
  p.contents("link");
  p.contents("long255");
  p.chmod("link", 0600);
  p.attributes("a");
  p.attributes("link");
  p.unlink("link");
  p.contents("a");
}

void odd_names(Probe& p) {
  p.mkdir("all");
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/' || byte == '.') continue;
    const std::string name(1, static_cast<char>(byte));
    const int fd = p.calls().open(p.path("all/" + name), O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0) p.call("a name of byte " + std::to_string(byte), fd);
    p.close(fd);
  }
  p.names("all");
  for (const char* name : {"...", ".hidden", "-rf", " ", "a b", "a\nb", "tab\t", "*", "[x]", "\\#012",
                           "\xc3\xa9", "\xed\xa0\x80", "~", "%s", "$(x)", ":", "con", "name.conflict-x"}) {
    p.file(name, name);
    p.contents(name);
  }
  std::string wide;
  while (wide.size() < 254) wide += "\xc3\xa9";
  p.file(wide, "wide");
  p.names();
  p.rename(wide, std::string(255, '\xfe'));
  p.names();
}

// Deeper than any path can say.
void deep_names(Probe& p) {
  constexpr int kDepth = 60;
  const std::string name(100, 'd');
  std::vector<int> open{::open(p.directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  int64_t made = 0;
  for (int i = 0; i < kDepth && open.back() >= 0; ++i) {
    if (::mkdirat(open.back(), name.c_str(), 0755) == 0) ++made;
    open.push_back(::openat(open.back(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  p.note("directories made", made);
  const int fd = ::openat(open.back(), "file", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  p.pwrite(fd, "deep", 0);
  p.pread(fd, 10, 0);
  p.close(fd);
  p.call("unlinkat", raw(::unlinkat(open.back(), "file", 0)));
  int64_t removed = 0;
  for (size_t i = open.size() - 1; i > 0; --i) {
    ::close(open[i]);
    if (::unlinkat(open[i - 1], name.c_str(), AT_REMOVEDIR) == 0) ++removed;
  }
  ::close(open[0]);
  p.note("directories removed", removed);
}

const ParityCase kCases[] = {
    {"names/links", links},
    {"names/link-errors", link_errors},
    {"names/many-links", many_links},
    {"names/removed-while-open", removed_while_open},
    {"names/unlink-errors", unlink_errors},
    {"names/symlinks", symlinks},
    {"names/odd", odd_names},
    {"names/deep", deep_names},
};

}  // namespace

std::span<const ParityCase> name_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
