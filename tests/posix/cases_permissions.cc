// SPDX-License-Identifier: GPL-3.0-or-later
// Who may do what; and what is inherited.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr uid_t kOwner = 1111;
constexpr uid_t kOther = 2222;
constexpr gid_t kGroup = 3333;
constexpr timespec kOmit = {0, UTIME_OMIT};
constexpr timespec kNow = {0, UTIME_NOW};

void owned(Probe& p, const std::string& name, mode_t mode) {
  p.file(name, "contents");
  p.chown(name, kOwner, kGroup);
  p.chmod(name, mode);
}

void owned_directory(Probe& p, const std::string& name, mode_t mode) {
  p.mkdir(name);
  p.chown(name, kOwner, kGroup);
  p.chmod(name, mode);
}

void classes(Probe& p) {
  for (const mode_t mode : {0600, 0060, 0006, 0400, 0240, 0444, 0666}) {
    const std::string name = std::to_string(mode);
    owned(p, name, mode);
    for (const auto& [uid, gid] :
         {std::pair{kOwner, gid_t{9}}, std::pair{kOther, kGroup}, std::pair{kOther, gid_t{9}}}) {
      Probe::as_user(uid, gid, [&] {
        p.close(p.open(name, O_RDONLY));
        p.close(p.open(name, O_WRONLY));
        p.close(p.open(name, O_RDWR | O_APPEND));
        p.truncate(name, 8);
      });
    }
    p.close(p.open(name, O_RDWR));
  }
}

void directories(Probe& p) {
  for (const mode_t mode : {0700, 0755, 0711, 0744, 0773, 0777, 0000}) {
    const std::string name = "d" + std::to_string(mode);
    owned_directory(p, name, mode);
    p.file(name + "/file", "contents", 0666);
    p.mkdir(name + "/sub");
    Probe::as_user(kOther, 9, [&] {
      p.names(name);
      p.attributes(name + "/file");
      p.close(p.open(name + "/file", O_RDWR));
      p.open(name + "/missing", O_RDONLY);
      p.close(p.open(name + "/new", O_CREAT | O_WRONLY));
      p.mkdir(name + "/newdir");
      p.symlink("x", name + "/newlink");
      p.mknod(name + "/newfifo", S_IFIFO | 0644);
      p.rename(name + "/file", name + "/renamed");
      p.unlink(name + "/renamed");
      p.rmdir(name + "/sub");
    });
    p.names(name);
  }
}

void owners_only(Probe& p) {
  owned(p, "a", 0666);
  owned(p, "closed", 0644);
  for (const uid_t uid : {kOther, kOwner}) {
    Probe::as_user(uid, uid, [&] {
      p.chmod("a", 0666);
      p.chown("a", uid, static_cast<gid_t>(-1));
      p.chown("a", static_cast<uid_t>(-1), kGroup);
      p.chown("a", static_cast<uid_t>(-1), 777);
      p.chown("a", 1, 1);
      p.set_times("a", kOmit, {1000000000, 0});
      p.set_times("a", kNow, kNow);
      p.set_times("closed", kNow, kNow);
      p.set_times("closed", kOmit, {1000000000, 0});
    });
  }
  p.attributes("a");
}

// S_ISGID is not for who is not in the group.
void foreign_group(Probe& p) {
  owned(p, "a", 0644);
  Probe::as_user(kOwner, 9, [&] {
    p.chmod("a", 02755);
    p.attributes("a");
    p.chmod("a", 06755);
    p.attributes("a");
  });
  Probe::as_user(kOwner, kGroup, [&] {
    p.chmod("a", 02755);
    p.attributes("a");
  });
}

void sticky(Probe& p) {
  p.mkdir("t");
  p.chmod("t", 01777);
  owned_directory(p, "owned", 01777);
  for (const std::string directory : {"t", "owned"}) {
    for (const char* name : {"/mine", "/mine2", "/others"}) owned(p, directory + name, 0666);
    p.chown(directory + "/others", kOther, kOther);
    owned_directory(p, directory + "/mydir", 0777);
    Probe::as_user(kOther, kOther, [&] {
      p.unlink(directory + "/mine");
      p.rename(directory + "/mine", directory + "/taken");
      p.rename(directory + "/others", directory + "/mine");
      p.rmdir(directory + "/mydir");
      p.rename(directory + "/mydir", directory + "/taken");
      p.rename(directory + "/others", directory + "/others2");
      p.unlink(directory + "/others2");
      p.file(directory + "/fresh");
    });
    Probe::as_user(kOwner, kOwner, [&] {
      p.unlink(directory + "/fresh");
      p.rename(directory + "/mine", directory + "/mine3");
      p.unlink(directory + "/mine2");
      p.rmdir(directory + "/mydir");
    });
    p.names(directory);
  }
}

void group_directories(Probe& p) {
  p.mkdir("d");
  p.chown("d", kOwner, kGroup);
  p.chmod("d", 02777);
  for (const uid_t uid : {uid_t{0}, kOwner, kOther}) {
    const std::string suffix = std::to_string(uid);
    Probe::as_user(uid, uid, [&] {
      p.file("d/f" + suffix);
      p.file("d/x" + suffix, "", 0777);
      p.file("d/s" + suffix, "", 02775);
      p.mkdir("d/d" + suffix);
      p.symlink("x", "d/l" + suffix);
      p.mknod("d/p" + suffix, S_IFIFO | 0644);
      p.file("d/d" + suffix + "/f");
    });
    for (const char* kind : {"f", "x", "s", "d", "l", "p"}) p.attributes("d/" + (kind + suffix));
    p.attributes("d/d" + suffix + "/f");
  }
}

// What an ordinary writer does takes set-user-id rights away; root's writing does not.
void writers_clear_bits(Probe& p) {
  for (const mode_t mode : {06777, 04777, 02777, 02767, 01777}) {
    const std::string base = std::to_string(mode);
    for (const char* kind : {"w", "t", "o", "a", "c"}) {
      p.file(base + kind, "contents");
      p.chown(base + kind, kOwner, kGroup);
      p.chmod(base + kind, mode);
    }
    Probe::as_user(kOwner, 9, [&] {
      int fd = p.open(base + "w", O_WRONLY);
      p.pwrite(fd, "x", 0);
      p.close(fd);
      p.attributes(base + "w");
      p.truncate(base + "t", 3);
      p.attributes(base + "t");
      p.close(p.open(base + "o", O_WRONLY | O_TRUNC));
      p.attributes(base + "o");
      fd = p.open(base + "a", O_WRONLY);
      p.fallocate(fd, 0, 0, 100);
      p.close(fd);
      p.attributes(base + "a");
      fd = p.open(base + "c", O_RDWR);
      p.ftruncate(fd, 100);
      p.close(fd);
      p.attributes(base + "c");
    });
    p.chmod(base + "w", mode);
    const int fd = p.open(base + "w", O_WRONLY);
    p.pwrite(fd, "y", 0);
    p.close(fd);
    p.attributes(base + "w");
  }
}

void root_may(Probe& p) {
  owned(p, "a", 0000);
  owned_directory(p, "d", 0000);
  p.contents("a");
  p.file("d/x", "inside");
  p.contents("d/x");
  p.call("access X_OK of a file", raw(::access(p.path("a").c_str(), X_OK)));
  p.call("access R_OK", raw(::access(p.path("a").c_str(), R_OK)));
  p.call("access X_OK of a directory", raw(::access(p.path("d").c_str(), X_OK)));
  p.call("access of nothing", raw(::access(p.path("missing").c_str(), F_OK)));
}

const ParityCase kCases[] = {
    {"permissions/classes", classes, true},
    {"permissions/directories", directories, true},
    {"permissions/owners-only", owners_only, true},
    {"permissions/foreign-group", foreign_group, true},
    {"permissions/sticky", sticky, true},
    {"permissions/group-directories", group_directories, true},
    {"permissions/writers-clear-bits", writers_clear_bits, true},
    {"permissions/root-may", root_may, true},
};

}  // namespace

std::span<const ParityCase> permission_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
