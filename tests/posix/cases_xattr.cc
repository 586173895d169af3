// SPDX-License-Identifier: GPL-3.0-or-later
// Extended attributes, and the ACLs that are kept in them.
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

const std::string kAccess = "system.posix_acl_access";
const std::string kDefault = "system.posix_acl_default";

// As the kernel takes it: linux/posix_acl_xattr.h.
struct AclEntry {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = UINT32_MAX;
};
constexpr uint16_t kUserObject = 1;
constexpr uint16_t kUser = 2;
constexpr uint16_t kGroupObject = 4;
constexpr uint16_t kGroup = 8;
constexpr uint16_t kMask = 16;
constexpr uint16_t kOther = 32;

std::string acl(std::initializer_list<AclEntry> entries) {
  std::string out("\2\0\0\0", 4);
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  };
  for (const AclEntry& entry : entries) {
    put(entry.tag, 2);
    put(entry.permissions, 2);
    put(entry.id, 4);
  }
  return out;
}

std::string rich_acl() {
  return acl(
      {{kUserObject, 7}, {kUser, 6, 1111}, {kGroupObject, 5}, {kGroup, 4, 2222}, {kMask, 7}, {kOther, 1}});
}

void need_user_xattrs(Probe& p, const std::string& name) {
  Probe::may_refuse(p.set_xattr(name, "user.probe", "x"), {EOPNOTSUPP}, "user.* attributes");
  p.remove_xattr(name, "user.probe");
}

void values(Probe& p) {
  p.file("a", "contents");
  need_user_xattrs(p, "a");
  p.mkdir("d");
  for (const char* name : {"a", "d"}) {
    for (const size_t size : {0UL, 1UL, 31UL, 32UL, 33UL, 500UL, 2500UL}) {
      p.set_xattr(name, "user.sized", std::string(size, static_cast<char>('a' + size % 26)));
      p.get_xattr(name, "user.sized");
    }
    p.set_xattr(name, "user.binary", std::string("\0\1\xff\0", 4));
    p.set_xattr(name, "user.\xc3\xa9 \n", "odd");
    p.set_xattr(name, "user." + std::string(200, 'n'), "long");
    p.get_xattr(name, "user.binary");
    p.get_xattr(name, "user.\xc3\xa9 \n");
    p.xattrs(name);
    p.remove_xattr(name, "user.sized");
    p.xattrs(name);
    p.get_xattr(name, "user.sized");
  }
  p.attributes("a");
}

void flags(Probe& p) {
  p.file("a");
  need_user_xattrs(p, "a");
  p.set_xattr("a", "user.x", "1", XATTR_REPLACE);
  p.set_xattr("a", "user.x", "2", XATTR_CREATE);
  p.set_xattr("a", "user.x", "3", XATTR_CREATE);
  p.get_xattr("a", "user.x");
  p.set_xattr("a", "user.x", "4", XATTR_REPLACE);
  p.get_xattr("a", "user.x");
  p.set_xattr("a", "user.x", "5", XATTR_CREATE | XATTR_REPLACE);
  p.set_xattr("a", "user.x", "6", 16);
  p.get_xattr("a", "user.x");
}

void errors(Probe& p) {
  p.file("a");
  need_user_xattrs(p, "a");
  p.symlink("a", "link");
  p.mknod("fifo", S_IFIFO | 0644);
  p.set_xattr("link", "user.x", "1");
  p.set_xattr("fifo", "user.x", "1");
  p.get_xattr("link", "user.x");
  p.get_xattr("fifo", "user.x");
  p.get_xattr("a", "user.missing");
  p.remove_xattr("a", "user.missing");
  p.set_xattr("missing", "user.x", "1");
  p.get_xattr("missing", "user.x");
  p.set_xattr("a", "", "1");
  p.set_xattr("a", "bare", "1");
  p.set_xattr("a", "unknown.x", "1");
  p.get_xattr("a", "unknown.x");
  p.set_xattr("a", "user." + std::string(251, 'n'), "1");
  p.set_xattr("a", "user.large", std::string(65537, 'v'));
  p.xattrs("a");
}

void sizes(Probe& p) {
  p.file("a");
  need_user_xattrs(p, "a");
  p.set_xattr("a", "user.x", "0123456789");
  p.set_xattr("a", "user.yy", "");
  std::string buffer(100, '\0');
  const std::string path = p.path("a");
  p.call("size asked", raw(::getxattr(path.c_str(), "user.x", nullptr, 0)));
  p.call("too small", raw(::getxattr(path.c_str(), "user.x", buffer.data(), 9)));
  p.call("just enough", raw(::getxattr(path.c_str(), "user.x", buffer.data(), 10)));
  p.call("an empty one", raw(::getxattr(path.c_str(), "user.yy", buffer.data(), 10)));
  p.call("list size", raw(::listxattr(path.c_str(), nullptr, 0)));
  p.call("list too small", raw(::listxattr(path.c_str(), buffer.data(), 5)));
  p.call("list", raw(::listxattr(path.c_str(), buffer.data(), buffer.size())));
}

void many(Probe& p) {
  p.file("a");
  need_user_xattrs(p, "a");
  for (int i = 0; i < 30; ++i)
    p.set_xattr("a", "user.n" + std::to_string(i), std::string(static_cast<size_t>(i), 'v'));
  p.xattrs("a");
  for (int i = 0; i < 30; i += 3) p.remove_xattr("a", "user.n" + std::to_string(i));
  p.xattrs("a");
  p.get_xattr("a", "user.n29");
}

void follow_the_file(Probe& p) {
  p.file("a");
  need_user_xattrs(p, "a");
  p.set_xattr("a", "user.x", "value");
  p.link("a", "b");
  p.get_xattr("b", "user.x");
  p.rename("b", "c");
  p.unlink("a");
  p.get_xattr("c", "user.x");
  const int fd = p.open("c", O_RDONLY);
  p.call("fsetxattr", raw(::fsetxattr(fd, "user.y", "later", 5, 0)));
  p.unlink("c");
  std::string buffer(100, '\0');
  p.call("fgetxattr of what has no name", raw(::fgetxattr(fd, "user.y", buffer.data(), buffer.size())));
  p.call("fremovexattr", raw(::fremovexattr(fd, "user.x")));
  p.call("flistxattr", raw(::flistxattr(fd, buffer.data(), buffer.size())));
  p.close(fd);
  p.file("c");
  p.xattrs("c");
}

void who_may(Probe& p) {
  p.file("a");
  need_user_xattrs(p, "a");
  p.set_xattr("a", "user.x", "1");
  p.chmod("a", 0640);
  Probe::as_user(2222, 2222, [&] {
    p.get_xattr("a", "user.x");
    p.set_xattr("a", "user.x", "2");
    p.remove_xattr("a", "user.x");
    p.set_xattr("a", "trusted.x", "2");
    p.get_xattr("a", "trusted.x");
  });
  p.chmod("a", 0444);
  Probe::as_user(2222, 2222, [&] {
    p.get_xattr("a", "user.x");
    p.set_xattr("a", "user.x", "2");
  });
}

void trusted(Probe& p) {
  p.file("a");
  Probe::may_refuse(p.set_xattr("a", "trusted.x", "secret"), {EOPNOTSUPP, EPERM}, "trusted.* attributes");
  p.get_xattr("a", "trusted.x");
  p.symlink("a", "link");
  p.set_xattr("link", "trusted.x", "of the link");
  p.get_xattr("link", "trusted.x");
  p.get_xattr("a", "trusted.x");
  p.xattrs("link");
}

void need_acls(Probe& p, const std::string& name) {
  Probe::may_refuse(p.set_xattr(name, kAccess, rich_acl()), {EOPNOTSUPP}, "ACLs");
}

void access_acls(Probe& p) {
  p.file("a");
  need_acls(p, "a");
  p.attributes("a");
  p.get_xattr("a", kAccess);
  p.xattrs("a");
  for (const mode_t mode : {0600, 0777, 0750, 0004}) {
    p.chmod("a", mode);
    p.attributes("a");
    p.get_xattr("a", kAccess);
  }
  p.set_xattr("a", kAccess, acl({{kUserObject, 6}, {kGroupObject, 4}, {kOther, 0}}));
  p.attributes("a");
  p.get_xattr("a", kAccess);
  p.set_xattr("a", kAccess, rich_acl());
  p.remove_xattr("a", kAccess);
  p.attributes("a");
  p.get_xattr("a", kAccess);
}

void acl_errors(Probe& p) {
  p.file("a");
  need_acls(p, "a");
  p.mkdir("d");
  p.set_xattr("a", kDefault, rich_acl());
  p.set_xattr("a", kAccess, "nonsense");
  p.set_xattr("a", kAccess, acl({{kUserObject, 6}, {kGroupObject, 4}}));
  p.set_xattr("a", kAccess, acl({{kUserObject, 6}, {kUser, 6, 1}, {kGroupObject, 4}, {kOther, 0}}));
  p.set_xattr("d", kDefault, acl({{kUserObject, 8}, {kGroupObject, 4}, {kOther, 0}}));
  p.get_xattr("d", kDefault);
  p.remove_xattr("d", kDefault);
  p.get_xattr("a", kAccess);
}

void default_acls(Probe& p) {
  p.mkdir("d");
  Probe::may_refuse(p.set_xattr("d", kDefault, rich_acl()), {EOPNOTSUPP}, "ACLs");
  for (const mode_t mask : {0, 022, 077}) {
    ::umask(mask);
    const std::string suffix = std::to_string(mask);
    p.file("d/f" + suffix, "", 0666);
    p.file("d/x" + suffix, "", 0750);
    p.mkdir("d/d" + suffix, 0777);
    p.mknod("d/p" + suffix, S_IFIFO | 0666);
    p.symlink("x", "d/l" + suffix);
    for (const char* kind : {"f", "x", "d", "p", "l"}) {
      p.attributes("d/" + (kind + suffix));
      p.get_xattr("d/" + (kind + suffix), kAccess);
    }
    p.get_xattr("d/d" + suffix, kDefault);
    p.file("d/d" + suffix + "/inner", "", 0666);
    p.attributes("d/d" + suffix + "/inner");
    p.get_xattr("d/d" + suffix + "/inner", kAccess);
  }
  ::umask(022);
  p.set_xattr("d", kDefault, acl({{kUserObject, 7}, {kGroupObject, 0}, {kOther, 0}}));
  p.file("d/plain", "", 0666);
  p.attributes("d/plain");
  p.get_xattr("d/plain", kAccess);
  p.remove_xattr("d", kDefault);
  p.file("d/after", "", 0666);
  p.attributes("d/after");
}

void acls_are_enforced(Probe& p) {
  p.file("a", "contents");
  need_acls(p, "a");
  p.set_xattr("a", kAccess,
              acl({{kUserObject, 6},
                   {kUser, 4, 1111},
                   {kUser, 0, 2222},
                   {kGroupObject, 0},
                   {kMask, 4},
                   {kOther, 4}}));
  for (const uid_t uid : {1111U, 2222U, 4444U}) {
    Probe::as_user(uid, uid, [&] {
      p.close(p.open("a", O_RDONLY));
      p.open("a", O_WRONLY);
    });
  }
  p.chmod("a", 0604);
  Probe::as_user(1111, 1111, [&] { p.open("a", O_RDONLY); });
}

const ParityCase kCases[] = {
    {"xattr/values", values},
    {"xattr/flags", flags},
    {"xattr/errors", errors},
    {"xattr/sizes", sizes},
    {"xattr/many", many},
    {"xattr/follow-the-file", follow_the_file},
    {"xattr/who-may", who_may, true},
    {"xattr/trusted", trusted, true},
    {"acl/access", access_acls},
    {"acl/errors", acl_errors},
    {"acl/default", default_acls},
    {"acl/enforced", acls_are_enforced, true},
};

}  // namespace

std::span<const ParityCase> xattr_cases() {
  return kCases;
}

}  // namespace rsyncfs::posix_tests
