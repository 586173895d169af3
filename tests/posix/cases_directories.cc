// SPDX-License-Identifier: GPL-3.0-or-later
// Reading directories, also while they change.
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

struct Closer {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, Closer>;

Directory open_directory(Probe& p, const std::string& name) {
  Directory out(::opendir(p.path(name).c_str()));
  if (out == nullptr) p.call("opendir", -errno);
  return out;
}

// Long ones, so that few files take several calls to list.
std::string name_of(int number, const char* prefix = "f") {
  std::string out = prefix + std::to_string(number);
  out.resize(200, '.');
  return out;
}

void make_many(Probe& p, const std::string& directory, int from, int to, const char* prefix = "f") {
  for (int i = from; i < to; ++i) {
    const int fd = p.calls().open(p.path(directory + "/" + name_of(i, prefix)), O_CREAT | O_WRONLY, 0644);
    if (fd < 0) p.call("open to create", fd);
    p.calls().close(fd);
  }
}

// The next `most` names.
std::vector<std::string> read_names(DIR* directory, size_t most = SIZE_MAX) {
  std::vector<std::string> out;
  while (out.size() < most) {
    const dirent* entry = ::readdir(directory);
    if (entry == nullptr) break;
    out.emplace_back(entry->d_name);
  }
  return out;
}

size_t times_in(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<size_t>(std::count(names.begin(), names.end(), name));
}

void everything_once(Probe& p) {
  p.mkdir("d");
  make_many(p, "d", 0, 600);
  const Directory directory = open_directory(p, "d");
  if (directory == nullptr) return;
  std::vector<std::string> names = read_names(directory.get());
  p.note("entries", static_cast<int64_t>(names.size()));
  std::sort(names.begin(), names.end());
  p.note("each once", std::adjacent_find(names.begin(), names.end()) == names.end());
  ::rewinddir(directory.get());
  p.note("again", static_cast<int64_t>(read_names(directory.get()).size()));
}

void what_entries_say(Probe& p) {
  p.file("file");
  p.mkdir("dir");
  p.symlink("x", "link");
  p.mknod("fifo", S_IFIFO | 0644);
  p.mknod("socket", S_IFSOCK | 0644);
  const Directory directory = open_directory(p, ".");
  if (directory == nullptr) return;
  std::map<std::string, std::string> seen;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    const bool right = name == ".." || entry->d_ino == p.status(name).st_ino;
    seen[name] = "type " + std::to_string(entry->d_type) + (right ? "" : ", another inode than lstat's");
  }
  for (const auto& [name, text] : seen) p.note(name, text);
}

void while_names_come_and_go(Probe& p) {
  constexpr int kFiles = 450;
  p.mkdir("d");
  make_many(p, "d", 0, kFiles);
  const Directory directory = open_directory(p, "d");
  if (directory == nullptr) return;
  std::vector<std::string> names = read_names(directory.get(), kFiles / 2);
  for (int i = 0; i < kFiles; i += 3) p.calls().unlink(p.path("d/" + name_of(i)));
  for (int i = 1; i < kFiles; i += 30) {
    p.calls().rename(p.path("d/" + name_of(i)), p.path("d/" + name_of(i, "g")));
  }
  make_many(p, "d", 0, 100, "new");
  const std::vector<std::string> rest = read_names(directory.get());
  names.insert(names.end(), rest.begin(), rest.end());
  int wrong = 0;
  for (int i = 2; i < kFiles; i += 3) {
    if (times_in(names, name_of(i)) != 1) ++wrong;
  }
  p.note("names that stayed and were not given exactly once", static_cast<int64_t>(wrong));
  p.names("d");
}

void positions(Probe& p) {
  p.mkdir("d");
  make_many(p, "d", 0, 300);
  const Directory directory = open_directory(p, "d");
  if (directory == nullptr) return;
  std::vector<std::pair<long, std::string>> at;
  while (true) {
    const long position = ::telldir(directory.get());
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    at.emplace_back(position, entry->d_name);
  }
  int wrong = 0;
  for (size_t i = at.size(); i-- > 0; i -= std::min<size_t>(i, 6)) {
    ::seekdir(directory.get(), at[i].first);
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr || at[i].second != entry->d_name) ++wrong;
  }
  p.note("positions that led elsewhere", static_cast<int64_t>(wrong));
  ::rewinddir(directory.get());
  p.note("all again", static_cast<int64_t>(read_names(directory.get()).size()));
}

void rewound(Probe& p) {
  p.mkdir("d");
  make_many(p, "d", 0, 10);
  const Directory directory = open_directory(p, "d");
  if (directory == nullptr) return;
  read_names(directory.get());
  make_many(p, "d", 0, 5, "later");
  p.unlink("d/" + name_of(0));
  ::rewinddir(directory.get());
  std::vector<std::string> names = read_names(directory.get());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) p.note("rewound", name.substr(0, 10));
}

void removed(Probe& p) {
  p.mkdir("d");
  const Directory directory = open_directory(p, "d");
  if (directory == nullptr) return;
  p.rmdir("d");
  std::vector<std::string> names = read_names(directory.get());
  p.note("names but the dots",
         static_cast<int64_t>(names.size() - times_in(names, ".") - times_in(names, "..")));
}

// As `rm -r` does: each name goes as soon as it was read.
void emptied_while_read(Probe& p) {
  p.mkdir("d");
  make_many(p, "d", 0, 500);
  const Directory directory = open_directory(p, "d");
  if (directory == nullptr) return;
  int gone = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && p.calls().unlink(p.path("d/" + name)) == 0) ++gone;
  }
  p.note("removed", static_cast<int64_t>(gone));
  p.rmdir("d");
}

void errors(Probe& p) {
  p.file("a");
  const int file = p.open("a", O_RDONLY);
  const int directory = p.open(".", O_RDONLY | O_DIRECTORY);
  char buffer[4096];
  p.call("getdents of a file", raw(::syscall(SYS_getdents64, file, buffer, sizeof(buffer))));
  p.call("getdents into 8 bytes", raw(::syscall(SYS_getdents64, directory, buffer, 8)));
  p.call("read of a directory", raw(::read(directory, buffer, sizeof(buffer))));
  p.pwrite(directory, "x", 0);
  p.ftruncate(directory, 0);
  p.close(file);
  p.close(directory);
  p.call("getdents of nothing", raw(::syscall(SYS_getdents64, directory, buffer, sizeof(buffer))));
}

void dots(Probe& p) {
  p.mkdir("d");
  p.mkdir("d/sub");
  p.note("d/sub/.. is d", p.status("d/sub/..").st_ino == p.status("d").st_ino);
  p.note("d/. is d", p.status("d/.").st_ino == p.status("d").st_ino);
  p.attributes("d/sub/../sub/.");
}

const ParityCase kCases[] = {
    {"directories/everything-once", everything_once},
    {"directories/what-entries-say", what_entries_say},
    {"directories/while-names-come-and-go", while_names_come_and_go},
    {"directories/positions", positions},
    {"directories/rewound", rewound},
    {"directories/removed", removed},
    {"directories/emptied-while-read", emptied_while_read},
    {"directories/errors", errors},
    {"directories/dots", dots},
};

}  // namespace

std::span<const ParityCase> directory_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
