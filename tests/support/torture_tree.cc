// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/torture_tree.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

void check(int result, const std::string& what) {
  if (result != 0) fail_setup_errno(what);
}

std::string random_name(std::mt19937_64& random) {
  static constexpr std::string_view kPalette =
      "*?[]\\ -.\n\t'\"$`!#~&;|<>(){}%+@:,=\x7f\x01\x1b\xff\xfe\x80\xc3";
  const size_t length = 1 + random() % 24;
  std::string name;
  while (name.size() < length) {
    const uint64_t dice = random();
    char byte = static_cast<char>(dice >> 8);
    if (dice % 3 == 0) byte = kPalette[(dice >> 8) % kPalette.size()];
    if (dice % 3 == 1) byte = static_cast<char>('a' + (dice >> 8) % 26);
    if (byte != '/' && byte != '\0') name += byte;
  }
  return name == "." || name == ".." ? name + "x" : name;
}

void make_odd_names(const std::string& root, const TortureOptions& options) {
  std::mt19937_64 random(options.seed);
  std::vector<std::string> dirs = {root};
  for (int made = 0; made < options.odd_names;) {
    const std::string path = dirs[random() % dirs.size()] + "/" + random_name(random);
    if (path.size() > 900) continue;
    const uint64_t kind = random() % 100;
    if (kind < 8) {
      if (mkdir(path.c_str(), 0755) != 0) continue;
      dirs.push_back(path);
    } else if (kind < 14) {
      if (symlink(random_name(random).c_str(), path.c_str()) != 0) continue;
    } else {
      const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600 | (random() & 0177));
      if (fd < 0) continue;
      const std::string bytes = random_bytes(random() % 700, random());
      if (write(fd, bytes.data(), bytes.size()) < 0) fail_setup_errno("write");
      close(fd);
    }
    ++made;
  }
}

void make_chosen_names(const std::string& dir) {
  make_dirs(dir);
  for (const std::string name : {" ",         "  leading", "trailing ",
                                 "-rf",       "--delete",  "new\nline",
                                 "\n",        "\xff",      "\xff\xfe",
                                 "tab\there", "*",         "?",
                                 "[",         "]",         "[a-z]",
                                 "a*b?c",     "\\",        "back\\slash",
                                 "\\#012",    "#",         ";",
                                 "'",         "\"",        "$(x)",
                                 "`x`",       "...",       ".hidden",
                                 "~",         "%41",       "\xc3\xa4",
                                 "a\xcc\x88", "con",       "name:colon",
                                 "::",        "rsync:",    "+ include",
                                 "- exclude", ". merge",   ".rsync-filter",
                                 "x~",        "\x01",      "\x7f",
                                 "caf\xe9"}) {
    write_file(std::string(dir).append("/").append(name), "named " + name);
  }
  write_file(dir + "/" + std::string(255, 'n'), "long");
  write_file(dir + "/" + std::string(255, '\xff'), "long");
  // Sorted as a/ , a- , a. by a naive order and differently by rsync's.
  for (const char* name : {"order", "order-", "order.", "order0"}) write_file(dir + "/" + name + ".f", "x");
  for (const char* name : {"order", "order-", "order.", "order!", "order\xff"}) {
    make_dirs(dir + "/" + name);
    write_file(dir + "/" + name + "/inner", "y");
  }
}

void make_deep(const std::string& root) {
  make_dirs(root);
  // Whole paths must stay below PATH_MAX on the served side, the mount and inside rsync (its MAXPATHLEN is
  // 4096).
  std::string path = root;
  while (path.size() + 201 < 3400) {
    path += "/" + std::string(200, 'd');
    check(mkdir(path.c_str(), 0755), "mkdir deep");
  }
  write_file(path + "/bottom", "bottom");
  path = root;
  for (int i = 0; i < 200; ++i) {
    path += "/s";
    check(mkdir(path.c_str(), 0755), "mkdir deep");
  }
  write_file(path + "/bottom", "bottom");
}

void make_links(const std::string& dir) {
  make_dirs(dir + "/a/b");
  make_dirs(dir + "/c");
  write_file(dir + "/a/one", "shared by three names");
  check(link((dir + "/a/one").c_str(), (dir + "/c/two").c_str()), "link");
  check(link((dir + "/a/one").c_str(), (dir + "/a/b/three").c_str()), "link");
  check(mkfifo((dir + "/a/fifo").c_str(), 0640), "mkfifo");
  check(link((dir + "/a/fifo").c_str(), (dir + "/c/fifo2").c_str()), "link fifo");
  for (int group = 0; group < 20; ++group) {
    const std::string first = dir + "/a/g" + std::to_string(group);
    write_file(first, "group " + std::to_string(group));
    for (int n = 0; n < group; ++n) {
      check(link(first.c_str(), (dir + "/c/g" + std::to_string(group) + "-" + std::to_string(n)).c_str()),
            "link");
    }
  }
  const std::pair<std::string, std::string> targets[] = {{"dangling", "no/such/thing"},
                                                         {"absolute", "/etc/passwd"},
                                                         {"loop", "loop"},
                                                         {"up", "../../../.."},
                                                         {"dot", "."},
                                                         {"odd", "a\nb\xff c"},
                                                         {"long", std::string(4000, 'x')},
                                                         {"dir", "a"},
                                                         {"file", "a/one"}};
  for (const auto& [name, target] : targets)
    check(symlink(target.c_str(), std::string(dir).append("/").append(name).c_str()), "symlink");
  check(link((dir + "/dangling").c_str(), (dir + "/c/dangling2").c_str()), "link symlink");
}

void make_special(const std::string& dir, bool devices) {
  make_dirs(dir);
  check(mkfifo((dir + "/fifo").c_str(), 0600), "mkfifo");
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string short_path =
      "/proc/self/fd/" + std::to_string(open(dir.c_str(), O_PATH | O_CLOEXEC)) + "/socket";
  std::strncpy(address.sun_path, short_path.c_str(), sizeof address.sun_path - 1);
  check(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind unix socket");
  close(fd);
  if (!devices || geteuid() != 0) return;
  const std::pair<const char*, dev_t> nodes[] = {{"null", makedev(1, 3)},
                                                 {"minor", makedev(1, 300)},
                                                 {"large", makedev(511, 0xabcde)},
                                                 {"zero", makedev(0, 0)}};
  for (const auto& [name, device] : nodes) {
    check(mknod((dir + "/c-" + name).c_str(), S_IFCHR | 0660, device), "mknod");
    check(mknod((dir + "/b-" + name).c_str(), S_IFBLK | 0660, device), "mknod");
  }
}

void make_modes(const std::string& dir) {
  make_dirs(dir);
  for (const mode_t mode : {04755U, 02755U, 01644U, 07777U, 0000U, 0111U, 0444U, 06711U}) {
    const std::string name = dir + "/m" + std::to_string(mode);
    write_file(name, "mode");
    check(chmod(name.c_str(), mode), "chmod");
    check(mkdir((name + ".d").c_str(), 0755), "mkdir");
    write_file(name + ".d/in", "x");
    check(chmod((name + ".d").c_str(), mode), "chmod");
  }
  if (geteuid() != 0) return;
  const uid_t ids[] = {1, 65534, 100000, 0x7ffffffe};
  for (const uid_t id : ids) {
    const std::string name = dir + "/owner" + std::to_string(id);
    write_file(name, "owner");
    check(lchown(name.c_str(), id, id / 2), "chown");
  }
}

void make_times(const std::string& dir) {
  make_dirs(dir);
  const std::pair<int64_t, int64_t> times[] = {
      {0, 0},           {0, 1},          {-1, 0},         {-1, 999999999}, {-2147483648, 5},
      {-2000000000, 0}, {2147483647, 0}, {2147483648, 7}, {4294967296, 0}, {9999999999, 123456789},
      {1, 100},         {1700000000, 1}};
  for (const auto& [seconds, nanoseconds] : times) {
    const std::string name = dir + "/t" + std::to_string(seconds) + "." + std::to_string(nanoseconds);
    write_file(name, "time");
    set_mtime(name, seconds, nanoseconds);
    check(symlink("t", (name + ".link").c_str()), "symlink");
    set_mtime(name + ".link", seconds, nanoseconds);
    make_dirs(name + ".d");
    set_mtime(name + ".d", seconds, nanoseconds);
  }
}

void set_xattr(const std::string& path, const std::string& name, const std::string& value) {
  check(lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0),
        "setxattr " + name + " " + path);
}

void make_xattrs(const std::string& dir) {
  make_dirs(dir);
  // 32 bytes is the most that a list carries whole; ext4 without large attributes holds about 4 kB per file.
  for (const size_t size : {0U, 1U, 31U, 32U, 33U, 64U, 255U, 1000U, 3000U}) {
    const std::string path = dir + "/x" + std::to_string(size);
    write_file(path, "x");
    set_xattr(path, "user.value", random_bytes(size, size));
  }
  // Many files with the same long values: rsync sends such a set once and then refers to it.
  for (int i = 0; i < 40; ++i) {
    const std::string path = dir + "/same" + std::to_string(i);
    write_file(path, "same");
    set_xattr(path, "user.a", "short");
    set_xattr(path, "user.b", std::string(100, 'b'));
    set_xattr(path, "user.z\xff odd", "name");
  }
  const std::string many = dir + "/many";
  write_file(many, "many");
  for (int i = 0; i < 30; ++i)
    set_xattr(many, "user.n" + std::to_string(i), std::string(static_cast<size_t>(i) * 2, 'v'));
  make_dirs(dir + "/sub");
  set_xattr(dir + "/sub", "user.dir", std::string(50, 'd'));
  if (geteuid() == 0) {
    set_xattr(dir + "/x1", "trusted.t", "root only");
    check(symlink("x1", (dir + "/link").c_str()), "symlink");
    set_xattr(dir + "/link", "trusted.of-link", "on the link");
  }
}

// The kernel's form of an ACL: a version word, then tag, permissions and id of each entry, in tag order.
std::string acl(const std::vector<std::array<uint32_t, 3>>& entries) {
  std::string value("\x02\0\0\0", 4);
  const auto put = [&](uint32_t number, int bytes) {
    for (int i = 0; i < bytes; ++i) value += static_cast<char>(number >> (8 * i));
  };
  for (const auto& [tag, permissions, id] : entries) {
    put(tag, 2);
    put(permissions, 2);
    put(id, 4);
  }
  return value;
}

void make_acls(const std::string& dir) {
  make_dirs(dir + "/d");
  constexpr uint32_t kNone = 0xffffffff;
  enum : uint32_t { kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16, kOther = 32 };
  const std::string named = acl({{kUserObj, 6, kNone},
                                 {kUser, 4, 1},
                                 {kUser, 7, 65534},
                                 {kGroupObj, 4, kNone},
                                 {kGroup, 5, 100},
                                 {kMask, 5, kNone},
                                 {kOther, 0, kNone}});
  const std::string masked =
      acl({{kUserObj, 7, kNone}, {kGroupObj, 7, kNone}, {kMask, 1, kNone}, {kOther, 5, kNone}});
  const std::string plain = acl({{kUserObj, 7, kNone}, {kGroupObj, 5, kNone}, {kOther, 5, kNone}});
  for (const char* name : {"named", "named2", "masked"}) {
    write_file(dir + "/" + name, name);
    set_xattr(dir + "/" + name, "system.posix_acl_access", name[0] == 'n' ? named : masked);
  }
  set_xattr(dir + "/d", "system.posix_acl_access", masked);
  set_xattr(dir + "/d", "system.posix_acl_default", named);
  write_file(dir + "/d/inherits", "default ACL becomes access ACL");
  make_dirs(dir + "/d/sub");
  make_dirs(dir + "/plain-default");
  set_xattr(dir + "/plain-default", "system.posix_acl_default", plain);
}

void make_large(const std::string& dir) {
  make_dirs(dir);
  constexpr uint64_t kGiB = 1ULL << 30;
  make_sparse_file(dir + "/five-gib", 5 * kGiB, "mark beyond 32 bits", 4 * kGiB + 12345);
  make_sparse_file(dir + "/huge", 3072 * kGiB, "far", 2048 * kGiB);
  make_sparse_file(dir + "/hole-only", 64U << 20, "", 0);
  make_sparse_file(dir + "/odd-size", (4U << 20) + 1, "end", (4U << 20) - 2);
  write_file(dir + "/empty", "");
  for (const size_t size : {1U, 4095U, 4096U, 4097U, 32768U, 65537U, 131072U, 700001U, 3000000U}) {
    write_file(dir + "/size" + std::to_string(size), random_bytes(size, size));
  }
}

}  // namespace

void make_torture_tree(const std::string& root, const TortureOptions& options) {
  make_dirs(root);
  make_dirs(root + "/odd");
  make_odd_names(root + "/odd", options);
  make_chosen_names(root + "/names");
  make_deep(root + "/deep");
  make_links(root + "/links");
  make_special(root + "/special", options.devices);
  make_modes(root + "/modes");
  make_xattrs(root + "/xattrs");
  make_acls(root + "/acls");
  make_dirs(root + "/empty");
  if (options.large_files) make_large(root + "/large");
  make_times(root + "/times");
}

}  // namespace rsyncfs::support
