// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

struct flock range(short type, off_t start, off_t length) {
  struct flock out {};
  out.l_type = type;
  out.l_whence = SEEK_SET;
  out.l_start = start;
  out.l_len = length;
  return out;
}

int64_t lock(int fd, int command, short type, off_t start, off_t length) {
  struct flock wanted = range(type, start, length);
  return raw(::fcntl(fd, command, &wanted));
}

// The result of `body` in a child process, whose fcntl locks are its own. It makes system calls only.
template <class Body>
int64_t in_a_child(Body body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(static_cast<int>(-body()));
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -ECHILD;
  return -WEXITSTATUS(status);
}

void whole_files(Probe& p) {
  p.file("a");
  const int one = p.open("a", O_RDWR);
  const int two = p.open("a", O_RDONLY);
  p.call("shared", raw(::flock(one, LOCK_SH | LOCK_NB)));
  p.call("shared by another", raw(::flock(two, LOCK_SH | LOCK_NB)));
  p.call("made exclusive", raw(::flock(one, LOCK_EX | LOCK_NB)));
  p.call("the other unlocks", raw(::flock(two, LOCK_UN)));
  p.call("made exclusive now", raw(::flock(one, LOCK_EX | LOCK_NB)));
  p.call("shared by another", raw(::flock(two, LOCK_SH | LOCK_NB)));
  const int copy = ::dup(one);
  p.close(one);
  p.call("a copy still holds it", raw(::flock(two, LOCK_EX | LOCK_NB)));
  p.close(copy);
  p.call("nobody holds it", raw(::flock(two, LOCK_EX | LOCK_NB)));
  p.close(two);
}

void ranges_of_processes(Probe& p) {
  p.file("a", "0123456789");
  const int fd = p.open("a", O_RDWR);
  const std::string path = p.path("a");
  p.call("write lock", lock(fd, F_SETLK, F_WRLCK, 2, 3));
  p.call("the child's within", in_a_child([&] { return lock(fd, F_SETLK, F_WRLCK, 3, 1); }));
  p.call("the child's read lock", in_a_child([&] { return lock(fd, F_SETLK, F_RDLCK, 0, 3); }));
  p.call("the child's beside", in_a_child([&] { return lock(fd, F_SETLK, F_WRLCK, 5, 5); }));
  struct flock found = range(F_WRLCK, 0, 0);
  p.call("the child asks", in_a_child([&] {
           struct flock asked = range(F_WRLCK, 0, 0);
           const int64_t result = raw(::fcntl(fd, F_GETLK, &asked));
           const bool right = asked.l_type == F_WRLCK && asked.l_start == 2 && asked.l_len == 3;
           return result < 0 ? result : (right ? 0 : -EDOM);
         }));
  p.call("one's own does not hinder", raw(::fcntl(fd, F_GETLK, &found)));
  p.note("type found", static_cast<int64_t>(found.l_type));
  p.call("shared in the middle", lock(fd, F_SETLK, F_RDLCK, 3, 1));
  p.call("the child reads there", in_a_child([&] { return lock(fd, F_SETLK, F_RDLCK, 3, 1); }));
  // Any close of the file by the process gives its locks up.
  p.close(p.open("a", O_RDONLY));
  p.call("the child's everything", in_a_child([&] { return lock(fd, F_SETLK, F_WRLCK, 0, 0); }));
  p.close(fd);
  const int reader = p.open("a", O_RDONLY);
  p.call("write lock of a reader", lock(reader, F_SETLK, F_WRLCK, 0, 1));
  p.call("before the beginning", lock(reader, F_SETLK, F_RDLCK, -1, 1));
  p.close(reader);
}

void ranges_of_descriptors(Probe& p) {
  p.file("a", "0123456789");
  const int one = p.open("a", O_RDWR);
  const int two = p.open("a", O_RDWR);
  p.call("write lock", lock(one, F_OFD_SETLK, F_WRLCK, 2, 3));
  p.call("another's within", lock(two, F_OFD_SETLK, F_WRLCK, 3, 1));
  p.call("another's beside", lock(two, F_OFD_SETLK, F_WRLCK, 5, 0));
  p.call("the process's own", lock(one, F_SETLK, F_WRLCK, 2, 1));
  p.call("unlock a part", lock(one, F_OFD_SETLK, F_UNLCK, 3, 1));
  p.call("another's there", lock(two, F_OFD_SETLK, F_WRLCK, 3, 1));
  p.close(one);
  p.call("another's everything", lock(two, F_OFD_SETLK, F_WRLCK, 0, 0));
  p.close(two);
}

const ParityCase kCases[] = {
    {"locks/whole-files", whole_files},
    {"locks/ranges-of-processes", ranges_of_processes},
    {"locks/ranges-of-descriptors", ranges_of_descriptors},
};

}  // namespace

std::span<const ParityCase> lock_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
