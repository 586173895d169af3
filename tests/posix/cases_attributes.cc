// SPDX-License-Identifier: GPL-3.0-or-later
// Modes, owners, times.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <ctime>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr timespec kLongAgo = {1000000000, 987654321};
constexpr timespec kOmit = {0, UTIME_OMIT};
constexpr timespec kNow = {0, UTIME_NOW};

void modes(Probe& p) {
  p.file("a");
  p.mkdir("d");
  p.symlink("a", "link");
  for (const mode_t mode : {0, 0111, 0444, 0755, 01755, 02755, 02644, 04755, 07777, 0640}) {
    p.chmod("a", mode);
    p.attributes("a");
    p.chmod("d", mode);
    p.attributes("d");
  }
  p.chmod("link", 0600);
  p.attributes("a");
  p.attributes("link");
  p.chmod("missing", 0600);
  p.chmod("a/x", 0600);
  const int fd = p.open("a", O_RDONLY);
  p.call("fchmod", raw(::fchmod(fd, 0755)));
  p.attributes(fd, "a");
  p.attributes("a");
  p.close(fd);
}

void owners(Probe& p) {
  p.file("a");
  p.mkdir("d");
  p.symlink("a", "link");
  for (const char* name : {"a", "d", "link"}) {
    p.chown(name, 12, 34);
    p.attributes(name);
    p.chown(name, 56, static_cast<gid_t>(-1));
    p.attributes(name);
    p.chown(name, static_cast<uid_t>(-1), 78);
    p.attributes(name);
    p.chown(name, static_cast<uid_t>(-1), static_cast<gid_t>(-1));
    p.attributes(name);
    p.chown(name, 4000000000U, 3000000000U);
    p.attributes(name);
  }
  p.chown("missing", 1, 1);
}

void own_group_only(Probe& p) {
  p.file("a");
  p.chown("a", ::geteuid(), ::getegid());
  p.chown("a", static_cast<uid_t>(-1), static_cast<gid_t>(-1));
  p.attributes("a");
}

// Another owner's privileges end.
void owners_clear_bits(Probe& p) {
  for (const mode_t mode : {04755, 02755, 06755, 02745, 06644, 01755}) {
    const std::string suffix = std::to_string(mode);
    p.file("f" + suffix);
    p.chmod("f" + suffix, mode);
    p.chown("f" + suffix, 12, 34);
    p.attributes("f" + suffix);
    p.mkdir("d" + suffix);
    p.chmod("d" + suffix, mode);
    p.chown("d" + suffix, 12, 34);
    p.attributes("d" + suffix);
  }
}

void set_times(Probe& p) {
  p.file("a", "contents");
  p.mkdir("d");
  p.symlink("a", "link");
  for (const char* name : {"a", "d", "link"}) {
    for (const timespec& time :
         {timespec{0, 0}, timespec{1, 999999999}, timespec{-1, 1}, timespec{-1000000000, 500000000},
          timespec{1700000000, 123456789}, timespec{4102444800, 42}}) {
      p.set_times(name, kOmit, time);
      const struct stat status = p.status(name);
      p.note("modification s", static_cast<int64_t>(status.st_mtim.tv_sec));
      p.note("modification ns", static_cast<int64_t>(status.st_mtim.tv_nsec));
    }
  }
  p.set_times("a", kLongAgo, {0, 1000000000});
  p.set_times("a", kLongAgo, {0, -1});
  p.set_times("missing", kLongAgo, kLongAgo);
  const timespec both[2] = {kOmit, kLongAgo};
  const int fd = p.open("a", O_RDONLY);
  p.call("futimens", raw(::futimens(fd, both)));
  p.note("modification s", static_cast<int64_t>(p.status("a").st_mtim.tv_sec));
  p.close(fd);
}

void times_now_and_omitted(Probe& p) {
  p.file("a", "contents");
  p.set_times("a", kLongAgo, kLongAgo);
  timespec before{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
  p.set_times("a", kOmit, kNow);
  p.note("now is not before now", !earlier(p.status("a").st_mtim, before));
  p.set_times("a", kOmit, kLongAgo);
  p.set_times("a", kOmit, kOmit);
  p.note("omitted stays", p.status("a").st_mtim.tv_nsec == kLongAgo.tv_nsec);
  p.set_times("a", kNow, kOmit);
  p.note("the other stays", p.status("a").st_mtim.tv_nsec == kLongAgo.tv_nsec);
}

void access_time(Probe& p) {
  p.file("a", "contents");
  p.set_times("a", kLongAgo, {1200000000, 5});
  p.times("a");
  p.set_times("a", {1100000000, 7}, kOmit);
  p.times("a");
}

// A long past modification time shows what moves it.
void what_moves_times(Probe& p) {
  const auto reset = [&](const char* name) { p.calls().set_times(p.path(name), kOmit, kLongAgo); };
  const auto moved = [&](const char* name, const char* by) {
    p.note(std::string(name) + " is moved by " + by, p.status(name).st_mtim.tv_sec != kLongAgo.tv_sec);
    reset(name);
  };
  p.mkdir("d");
  p.file("d/a", "contents");
  for (const char* name : {"d", "d/a"}) reset(name);
  const int fd = p.open("d/a", O_RDWR);
  p.pread(fd, 3, 0);
  moved("d/a", "read");
  p.pwrite(fd, "x", 0);
  moved("d/a", "write");
  p.ftruncate(fd, 3);
  moved("d/a", "a shorter size");
  p.ftruncate(fd, 30);
  moved("d/a", "a longer size");
  p.map_write(fd, "m", 1);
  moved("d/a", "a map");
  p.close(fd);
  moved("d/a", "close");
  p.chmod("d/a", 0600);
  moved("d/a", "chmod");
  p.link("d/a", "d/b");
  moved("d/a", "link");
  moved("d", "link");
  p.pread(-1, 1, 0);
  p.rename("d/b", "d/c");
  moved("d", "rename within");
  p.unlink("d/c");
  moved("d", "unlink");
  p.mkdir("d/sub");
  moved("d", "mkdir");
  p.file("d/sub/x");
  moved("d", "what happens below");
  p.rename("d/sub", "sub");
  moved("d", "rename to elsewhere");
  p.symlink("x", "d/link");
  moved("d", "symlink");
  p.chmod("d", 0700);
  moved("d", "chmod");
  moved("d/a", "all of it");
  p.close(p.open("d/a", O_WRONLY | O_TRUNC));
  moved("d/a", "O_TRUNC");
}

void what_moves_change_time(Probe& p) {
  p.file("a", "contents");
  p.mkdir("d");
  const auto moves = [&](const char* name, const char* by, const auto& change) {
    const timespec before = p.status(name).st_ctim;
    let_a_tick_pass();
    change();
    p.note(std::string("change time of ") + name + " is moved by " + by,
           earlier(before, p.status(name).st_ctim));
  };
  moves("a", "chmod", [&] { p.chmod("a", 0600); });
  moves("a", "utimens", [&] { p.set_times("a", kOmit, kLongAgo); });
  moves("a", "link", [&] { p.link("a", "b"); });
  moves("a", "unlink of another name", [&] { p.unlink("b"); });
  moves("a", "truncate", [&] { p.truncate("a", 3); });
  moves("a", "looking", [&] { p.contents("a"); });
  moves("d", "mkdir in it", [&] { p.mkdir("d/sub"); });
  moves("a", "write", [&] {
    const int fd = p.open("a", O_WRONLY);
    p.pwrite(fd, "x", 0);
    p.close(fd);
  });
}

void file_system(Probe& p) {
  p.file("a");
  struct statvfs about {};
  const int result = p.call("statvfs", raw(::statvfs(p.path("a").c_str(), &about)));
  if (result < 0) return;
  p.note("longest name", static_cast<int64_t>(about.f_namemax));
  p.note("has blocks", about.f_blocks > 0 && about.f_bsize > 0 && about.f_frsize > 0);
  p.note("has space",
         about.f_bavail > 0 && about.f_bfree >= about.f_bavail && about.f_blocks >= about.f_bfree);
  p.note("is read-only", (about.f_flag & ST_RDONLY) != 0);
  p.call("pathconf NAME_MAX", ::pathconf(p.directory().c_str(), _PC_NAME_MAX));
}

const ParityCase kCases[] = {
    {"attributes/modes", modes},
    {"attributes/owners", owners, true},
    {"attributes/own-group-only", own_group_only},
    {"attributes/owners-clear-bits", owners_clear_bits, true},
    {"attributes/set-times", set_times},
    {"attributes/times-now-and-omitted", times_now_and_omitted},
    {"attributes/access-time", access_time},
    {"attributes/what-moves-times", what_moves_times},
    {"attributes/what-moves-change-time", what_moves_change_time},
    {"attributes/file-system", file_system},
};

}  // namespace

std::span<const ParityCase> attribute_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
