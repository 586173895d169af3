// SPDX-License-Identifier: GPL-3.0-or-later
// Making nodes, and names for them. Renaming is in local_rename.cc, attributes are in local_attributes.cc.
#include <sys/stat.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "io/base/log.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/local_changes_impl.h"
#include "sync/replica/name_edit.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kNewDirectoryBytes = 4096;

// As a node of its first moment, with its extended attributes stored.
Result<Node> prepare(Transaction& transaction, const FileTime& now, const NewNode& wanted) {
  Node node;
  node.attr.mode = wanted.mode;
  node.attr.uid = wanted.uid;
  node.attr.gid = wanted.gid;
  node.attr.rdev_major = wanted.rdev_major;
  node.attr.rdev_minor = wanted.rdev_minor;
  node.attr.mtime_s = now.s;
  node.attr.mtime_ns = now.ns;
  node.ctime = now;
  node.atime = now;
  node.differences = kAbsentAtSource;
  if (S_ISDIR(wanted.mode)) {
    node.attr.size = kNewDirectoryBytes;
    node.attr.nlink = 2;
    // There is nothing in it that could be listed.
    node.listed_at_s = now.s;
  } else if (S_ISLNK(wanted.mode)) {
    node.attr.size = wanted.link_target.size();
  }
  auto set = transaction.writer().xattr_sets().intern(transaction.db(), &wanted.xattrs);
  if (!set) return set.error();
  node.xattr_set = *set;
  return node;
}

Result<void> store(Transaction& transaction, Node& node, const NewNode& wanted) {
  auto id = insert_node(transaction, node, wanted.link_target);
  if (!id) return id.error();
  node.id = *id;
  node.ino = *id;
  return {};
}

Result<void> check_kind(const NewNode& wanted) {
  switch (wanted.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFBLK:
    case S_IFCHR:
      return {};
    case S_IFLNK:
      return wanted.link_target.empty() ? failed(ENOENT, "a symbolic link to nothing") : Result<void>();
    default:
      return failed(EINVAL, "no kind of file");
  }
}

}  // namespace

Result<Node> StoredLocalChanges::create(NodeId parent, std::string_view name, const NewNode& wanted) {
  if (auto done = check_kind(wanted); !done) return done.error();
  if (auto made = new_files_.create(parent, name, wanted)) return *made;
  return change<Node>([&](Transaction& transaction) -> Result<Node> {
    NameEdit edit(transaction);
    auto directory = edit.directory(parent, name);
    if (!directory) return directory;
    if (auto done = edit.expect_free(*directory, name); !done) return done.error();
    auto node = prepare(transaction, edit.now(), wanted);
    if (!node) return node;
    if (auto done = store(transaction, *node, wanted); !done) return done.error();
    if (auto done = note_absent(transaction, node->id); !done) return done.error();
    if (auto done = edit.lead(*directory, name, 0, node->id); !done) return done.error();
    const int subdirectories = S_ISDIR(wanted.mode) ? 1 : 0;
    if (auto done = edit.touch_directory(*directory, subdirectories); !done) return done.error();
    return node;
  });
}

Result<Node> StoredLocalChanges::create_unnamed(const NewNode& wanted) {
  if (!S_ISREG(wanted.mode)) return failed(EINVAL, "only regular files can be without a name");
  return change<Node>([&](Transaction& transaction) -> Result<Node> {
    auto node = prepare(transaction, FileTime::now(), wanted);
    if (!node) return node;
    node->orphan = true;
    node->attr.nlink = 0;
    if (auto done = store(transaction, *node, wanted); !done) return done.error();
    return node;
  });
}

Result<Node> StoredLocalChanges::link(NodeId id, NodeId parent, std::string_view name) {
  return change<Node>([&](Transaction& transaction) -> Result<Node> {
    NameEdit edit(transaction);
    auto directory = edit.directory(parent, name);
    if (!directory) return directory;
    auto node = edit.node(id);
    if (!node) return node;
    if (S_ISDIR(node->attr.mode)) return failed(EPERM, "a directory has one name");
    if (auto done = edit.expect_free(*directory, name); !done) return done.error();
    if (node->attr.nlink >= kMaxLinks) return failed(EMLINK, "too many names of one file");
    if (auto done = edit.lead(*directory, name, 0, id); !done) return done.error();
    if (auto done = edit.gain_name(*node, 1); !done) return done.error();
    if (auto done = edit.touch_directory(*directory, 0); !done) return done.error();
    return node;
  });
}

std::shared_ptr<const DirtyContent> StoredLocalChanges::dirty(NodeId file) const {
  if (auto done = settle(file); !done) log_error(done.error().message());
  return files_.dirty(file);
}

Result<NameEffect> StoredLocalChanges::unlink(NodeId parent, std::string_view name) {
  return remove(parent, name, false);
}

Result<NameEffect> StoredLocalChanges::remove_directory(NodeId parent, std::string_view name) {
  return remove(parent, name, true);
}

Result<NameEffect> StoredLocalChanges::remove(NodeId parent, std::string_view name, bool is_directory) {
  return change<NameEffect>([&](Transaction& transaction) -> Result<NameEffect> {
    NameEdit edit(transaction);
    auto directory = edit.directory(parent, name);
    if (!directory) return directory.error();
    auto node = edit.child(*directory, name);
    if (!node) return node.error();
    if (is_directory && !S_ISDIR(node->attr.mode)) return failed(ENOTDIR, "no directory");
    if (!is_directory && S_ISDIR(node->attr.mode)) return failed(EISDIR, "a directory");
    if (is_directory) {
      if (auto done = edit.expect_empty(*node); !done) return done.error();
    }
    if (auto done = edit.lead(*directory, name, node->id, 0); !done) return done.error();
    if (auto done = edit.lose_name(*node); !done) return done.error();
    if (auto done = edit.touch_directory(*directory, is_directory ? -1 : 0); !done) return done.error();
    return NameEffect{*node, std::nullopt};
  });
}

}  // namespace rsyncfs
