// SPDX-License-Identifier: GPL-3.0-or-later
// Making things, and opening them.
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

void exclusive(Probe& p) {
  p.close(p.open("a", O_CREAT | O_EXCL | O_RDWR));
  p.open("a", O_CREAT | O_EXCL | O_RDWR);
  p.symlink("nowhere", "dangling");
  p.open("dangling", O_CREAT | O_EXCL | O_RDWR);
  p.mkdir("d");
  p.open("d", O_CREAT | O_EXCL | O_RDWR);
  p.open("d/missing/a", O_CREAT | O_EXCL | O_RDWR);
  p.names();
}

void truncating(Probe& p) {
  p.file("a", "contents");
  p.close(p.open("a", O_CREAT | O_TRUNC | O_RDWR));
  p.contents("a");
  p.file("b", "contents");
  const int fd = p.open("b", O_WRONLY | O_TRUNC);
  p.attributes("b");
  p.write(fd, "new");
  p.close(fd);
  p.contents("b");
  p.mkdir("d");
  p.open("d", O_WRONLY | O_TRUNC);
}

void appending(Probe& p) {
  p.file("a", "one ");
  const int first = p.open("a", O_WRONLY | O_APPEND);
  const int second = p.open("a", O_RDWR | O_APPEND);
  p.write(first, "two ");
  p.write(second, "three ");
  p.write(first, "four ");
  p.call("lseek", raw(::lseek(first, 0, SEEK_SET)));
  p.write(first, "five ");
  p.pwrite(second, "six", 0);
  p.pread(second, 100, 0);
  p.close(first);
  p.close(second);
  p.contents("a");
}

void modes(Probe& p) {
  for (const mode_t mask : {0, 022, 027, 077, 0777}) {
    ::umask(mask);
    const std::string suffix = std::to_string(mask);
    int n = 0;
    for (const mode_t mode : {0, 0400, 0644, 0666, 0777, 01777, 02755, 04755}) {
      const std::string name = "f" + suffix + "-" + std::to_string(n);
      p.close(p.open(name, O_CREAT | O_WRONLY, mode));
      p.attributes(name);
      p.mkdir("d" + suffix + "-" + std::to_string(n), mode);
      p.attributes("d" + suffix + "-" + std::to_string(n++));
    }
  }
  ::umask(022);
}

void open_errors(Probe& p) {
  p.file("file");
  p.mkdir("d");
  p.symlink("file", "link");
  p.symlink("d", "dlink");
  p.open("missing", O_RDONLY);
  p.open("missing/a", O_RDONLY);
  p.open("missing/a", O_CREAT | O_WRONLY);
  p.open("file/a", O_RDONLY);
  p.open("file/a", O_CREAT | O_WRONLY);
  p.open("file/", O_RDONLY);
  p.open("d", O_WRONLY);
  p.open("d", O_RDWR);
  p.open("d", O_CREAT | O_RDONLY);
  p.open("file", O_RDONLY | O_DIRECTORY);
  p.open("new/", O_CREAT | O_WRONLY);
  p.open("link", O_RDONLY | O_NOFOLLOW);
  p.open("dlink", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  p.close(p.open("dlink/../file", O_RDONLY));
  p.open(std::string(255, 'n'), O_CREAT | O_WRONLY);
  p.open(std::string(256, 'n'), O_CREAT | O_WRONLY);
  p.open(std::string(256, 'n'), O_RDONLY);
  std::string deep;
  for (int i = 0; i < 2100; ++i) deep += "./";
  p.open(deep + "file", O_RDONLY);
}

void loops(Probe& p) {
  p.symlink("loop", "loop");
  p.symlink("b", "a");
  p.symlink("a", "b");
  for (const char* name : {"loop", "a", "a/x"}) {
    p.open(name, O_RDONLY);
    p.open(name, O_CREAT | O_WRONLY);
  }
  p.file("end", "the end");
  for (int i = 0; i < 41; ++i) {
    p.calls().symlink(i == 0 ? "end" : "chain" + std::to_string(i - 1), p.path("chain" + std::to_string(i)));
  }
  p.contents("chain39");
  p.contents("chain40");
}

void through_links(Probe& p) {
  p.mkdir("d");
  p.symlink("d/new", "dangling");
  const int fd = p.open("dangling", O_CREAT | O_WRONLY);
  p.write(fd, "made");
  p.close(fd);
  p.contents("d/new");
  p.attributes("dangling");
  p.contents("dangling");
}

void access_modes(Probe& p) {
  p.file("a", "contents");
  const int reader = p.open("a", O_RDONLY);
  const int writer = p.open("a", O_WRONLY);
  p.write(reader, "x");
  p.ftruncate(reader, 0);
  p.pread(writer, 10, 0);
  p.pwrite(writer, "C", 0);
  p.pread(reader, 10, 0);
  p.close(reader);
  p.close(writer);
  const int path = p.open("a", O_PATH);
  p.attributes(path, "of a path");
  p.pread(path, 10, 0);
  p.close(path);
  p.pread(path, 10, 0);
}

void unnamed(Probe& p) {
  p.mkdir("d");
  const int fd = Probe::may_refuse(p.open("d", O_TMPFILE | O_RDWR, 0640), {EOPNOTSUPP}, "O_TMPFILE");
  p.attributes(fd, "unnamed");
  p.write(fd, "was unnamed");
  p.names("d");
  const std::string own = "/proc/self/fd/" + std::to_string(fd);
  p.call("linkat",
         raw(::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, p.path("d/named").c_str(), AT_SYMLINK_FOLLOW)));
  p.attributes("d/named");
  p.contents("d/named");
  p.close(fd);
  p.contents("d/named");
  const int never = p.open("d", O_TMPFILE | O_EXCL | O_RDWR, 0640);
  const std::string other = "/proc/self/fd/" + std::to_string(never);
  p.call("linkat of O_EXCL",
         raw(::linkat(AT_FDCWD, other.c_str(), AT_FDCWD, p.path("d/never").c_str(), AT_SYMLINK_FOLLOW)));
  p.close(never);
  p.names("d");
}

void directories(Probe& p) {
  p.file("file");
  p.symlink("nowhere", "dangling");
  p.mkdir("d");
  p.mkdir("d");
  p.mkdir("file");
  p.mkdir("dangling");
  p.mkdir("missing/d");
  p.mkdir("file/d");
  p.mkdir("slashed/");
  p.mkdir(std::string(256, 'd'));
  p.mkdir(".");
  p.mkdir("d/..");
  p.names();
  p.attributes("d");
  p.mkdir("d/1");
  p.mkdir("d/2");
  p.attributes("d");
  p.rmdir("d/2");
  p.attributes("d");
}

void removing_directories(Probe& p) {
  p.file("file");
  p.mkdir("d");
  p.mkdir("d/sub");
  p.symlink("d", "link");
  p.rmdir("d");
  p.rmdir("file");
  p.rmdir("link");
  p.rmdir("link/");
  p.rmdir("missing");
  p.rmdir("file/x");
  p.rmdir("d/sub/.");
  p.rmdir("d/sub/..");
  p.rmdir("d/sub");
  p.rmdir("d/");
  p.names();
}

// One that is still open.
void removed_directory(Probe& p) {
  p.mkdir("d");
  const int fd = p.open("d", O_RDONLY | O_DIRECTORY);
  p.rmdir("d");
  p.attributes(fd, "removed");
  p.call("openat in it", raw(::openat(fd, "x", O_CREAT | O_WRONLY, 0644)));
  p.call("mkdirat in it", raw(::mkdirat(fd, "x", 0755)));
  p.call("fchmod", raw(::fchmod(fd, 0700)));
  p.mkdir("d");
  struct stat old {};
  p.calls().fstat(fd, old);
  p.note("the new one is another", old.st_ino != p.status("d").st_ino);
  p.close(fd);
}

void special_files(Probe& p) {
  p.mknod("fifo", S_IFIFO | 0640);
  p.mknod("socket", S_IFSOCK | 0600);
  p.mknod("regular", S_IFREG | 0604);
  p.mknod("fifo", S_IFIFO | 0640);
  p.mknod("missing/fifo", S_IFIFO | 0640);
  for (const char* name : {"fifo", "socket", "regular"}) p.attributes(name);
  p.open("socket", O_RDONLY);
  p.open("fifo", O_WRONLY | O_NONBLOCK);
  const int fd = p.open("fifo", O_RDWR | O_NONBLOCK);
  p.write(fd, "through");
  std::string got(20, '\0');
  p.call("read of the fifo", p.calls().read(fd, got));
  p.note("from the fifo", summary(got));
  p.call("lseek in it", raw(::lseek(fd, 0, SEEK_SET)));
  p.close(fd);
  p.link("fifo", "fifo2");
  p.attributes("fifo2");
}

void devices(Probe& p) {
  p.mknod("null", S_IFCHR | 0666, makedev(1, 3));
  p.mknod("loop", S_IFBLK | 0660, makedev(7, 0));
  p.mknod("large", S_IFCHR | 0600, makedev(300, 70000));
  for (const char* name : {"null", "loop", "large"}) p.attributes(name);
}

int bind_below(Probe& p, const std::string& name) {
  // The directory's own path may be too long for an address.
  const int directory = ::open(p.directory().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + name;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  p.call("bind " + name, raw(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address))));
  p.call("listen", raw(::listen(fd, 1)));
  const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  p.call("connect", raw(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address))));
  ::close(client);
  ::close(directory);
  return fd;
}

void bound_sockets(Probe& p) {
  const int first = bind_below(p, "socket");
  p.attributes("socket");
  const int second = bind_below(p, "socket");
  p.unlink("socket");
  p.names();
  ::close(first);
  ::close(second);
}

const ParityCase kCases[] = {
    {"create/exclusive", exclusive},
    {"create/truncating", truncating},
    {"create/appending", appending},
    {"create/modes", modes},
    {"create/open-errors", open_errors},
    {"create/loops", loops},
    {"create/through-links", through_links},
    {"create/access-modes", access_modes},
    {"create/unnamed", unnamed},
    {"create/directories", directories},
    {"create/removing-directories", removing_directories},
    {"create/removed-directory", removed_directory},
    {"create/special-files", special_files},
    {"create/devices", devices},
    {"create/bound-sockets", bound_sockets},
};

}  // namespace

std::span<const ParityCase> creation_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
