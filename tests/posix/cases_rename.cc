// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>
#include <linux/fs.h>

#include <array>
#include <string>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

enum class Thing {
  kNothing,
  kFile,
  kEmptyDirectory,
  kFullDirectory,
  kLinkToFile,
  kLinkToDirectory,
  kDangling,
  kFifo
};
constexpr std::array kThings = {Thing::kNothing,       Thing::kFile,       Thing::kEmptyDirectory,
                                Thing::kFullDirectory, Thing::kLinkToFile, Thing::kLinkToDirectory,
                                Thing::kDangling,      Thing::kFifo};

std::string text_of(Thing thing) {
  switch (thing) {
    case Thing::kNothing:
      return "nothing";
    case Thing::kFile:
      return "file";
    case Thing::kEmptyDirectory:
      return "empty-directory";
    case Thing::kFullDirectory:
      return "full-directory";
    case Thing::kLinkToFile:
      return "link-to-file";
    case Thing::kLinkToDirectory:
      return "link-to-directory";
    case Thing::kDangling:
      return "dangling-link";
    case Thing::kFifo:
      return "fifo";
  }
  return "";
}

void make(Probe& p, Thing thing, const std::string& name) {
  Calls& calls = p.calls();
  const std::string path = p.path(name);
  switch (thing) {
    case Thing::kNothing:
      break;
    case Thing::kFile:
      calls.close(calls.open(path, O_CREAT | O_WRONLY, 0640));
      break;
    case Thing::kEmptyDirectory:
      calls.mkdir(path, 0750);
      break;
    case Thing::kFullDirectory:
      calls.mkdir(path, 0755);
      calls.mkdir(path + "/inside", 0755);
      break;
    case Thing::kLinkToFile:
      calls.symlink("../some-file", path);
      break;
    case Thing::kLinkToDirectory:
      calls.symlink("../some-directory", path);
      break;
    case Thing::kDangling:
      calls.symlink("nowhere", path);
      break;
    case Thing::kFifo:
      calls.mknod(path, S_IFIFO | 0644, 0);
      break;
  }
}

// Every kind of thing over every other.
void combinations(Probe& p, unsigned flags) {
  p.file("some-file");
  p.mkdir("some-directory");
  for (const Thing from : kThings) {
    for (const Thing to : kThings) {
      const std::string place = text_of(from) + "-over-" + text_of(to);
      p.calls().mkdir(p.path(place), 0755);
      make(p, from, place + "/from");
      make(p, to, place + "/to");
      p.rename(place + "/from", place + "/to", flags);
      p.names(place);
      p.attributes(place + "/from");
      p.attributes(place + "/to");
      p.attributes(place);
    }
  }
}

void plain(Probe& p) {
  combinations(p, 0);
}
void noreplace(Probe& p) {
  combinations(p, RENAME_NOREPLACE);
}
void exchange(Probe& p) {
  combinations(p, RENAME_EXCHANGE);
}

void errors(Probe& p) {
  p.file("a", "a");
  p.mkdir("d");
  p.mkdir("d/sub");
  p.mkdir("d/sub/deeper");
  p.rename("d", "d/sub/deeper/d");
  p.rename("d", "d/d");
  p.rename("d/sub", "d");
  p.rename("d/sub/deeper", "d");
  p.rename("d", "d/sub", RENAME_EXCHANGE);
  p.rename("d/sub", "d", RENAME_EXCHANGE);
  p.rename("missing", "b");
  p.rename("a", "missing/b");
  p.rename("a", "a/b");
  p.rename("a/b", "c");
  p.rename("a", "b/");
  p.rename("a/", "b");
  p.rename("a", "d/");
  p.rename("a", std::string(256, 'r'));
  p.rename(".", "b");
  p.rename("d/.", "b");
  p.rename("d/..", "b");
  p.rename("a", "d/.");
  p.rename("a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE);
  p.rename("a", "b", 1U << 20);
  p.names();
  p.names("d");
}

void to_itself(Probe& p) {
  p.file("a", "a");
  p.link("a", "b");
  p.mkdir("d");
  p.rename("a", "a");
  p.rename("d", "d");
  p.rename("a", "b");
  p.rename("a", "a", RENAME_NOREPLACE);
  p.rename("a", "a", RENAME_EXCHANGE);
  p.rename("a", "b", RENAME_EXCHANGE);
  p.names();
  p.attributes("a");
}

void what_stays(Probe& p) {
  p.file("a", "contents of a", 0604);
  p.set_times("a", {1000000000, 1}, {1000000001, 123456789});
  p.mkdir("d", 0711);
  const ino_t inode = p.status("a").st_ino;
  const int fd = p.open("a", O_RDWR);
  p.rename("a", "d/b");
  p.note("same inode", p.status("d/b").st_ino == inode);
  p.attributes("d/b");
  p.note("modification time stays", p.status("d/b").st_mtim.tv_nsec == 123456789);
  p.pwrite(fd, "CONTENTS", 0);
  p.close(fd);
  p.contents("d/b");
}

void replaced_while_open(Probe& p) {
  p.file("old", "the old one");
  p.file("new", "the new one");
  const int fd = p.open("old", O_RDWR);
  p.rename("new", "old");
  p.attributes(fd, "replaced");
  p.pread(fd, 100, 0);
  p.pwrite(fd, "written late", 0);
  p.contents("old");
  p.pread(fd, 100, 0);
  p.close(fd);
  p.contents("old");
}

void directories_move(Probe& p) {
  p.mkdir("from");
  p.mkdir("to");
  p.mkdir("from/d");
  p.mkdir("from/d/sub");
  p.file("from/d/sub/file", "inside");
  const int file = p.open("from/d/sub/file", O_RDWR);
  const int directory = p.open("from/d", O_RDONLY | O_DIRECTORY);
  p.rename("from/d", "to/e");
  p.attributes("from");
  p.attributes("to");
  p.contents("to/e/sub/file");
  p.contents("from/d/sub/file");
  p.pwrite(file, "INSIDE", 0);
  const int reached = ::openat(directory, "sub/file", O_RDONLY | O_CLOEXEC);
  p.pread(reached, 100, 0);
  const int above = ::openat(directory, "..", O_PATH | O_CLOEXEC);
  struct stat parent {};
  p.calls().fstat(above, parent);
  p.note(".. is where it is now", parent.st_ino == p.status("to").st_ino);
  for (const int fd : {file, directory, reached, above}) p.close(fd);
}

const ParityCase kCases[] = {
    {"rename/plain", plain},
    {"rename/noreplace", noreplace},
    {"rename/exchange", exchange},
    {"rename/errors", errors},
    {"rename/to-itself", to_itself},
    {"rename/what-stays", what_stays},
    {"rename/replaced-while-open", replaced_while_open},
    {"rename/directories-move", directories_move},
};

}  // namespace

std::span<const ParityCase> rename_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
