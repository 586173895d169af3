// SPDX-License-Identifier: GPL-3.0-or-later
// The pushes kept in golden/: what the real rsync was told to send of the golden tree, and the same for us.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sync/rsync/push_session.h"
#include "tests/rsync/golden_cases.h"

namespace rsyncfs {

struct GoldenPush {
  std::string name;                  // golden/push_NAME.{args,sent,received}
  PushConfig config;                 // entries in the order in which they were sent
  std::vector<std::string> options;  // of the real client, beside those of all
  std::vector<std::string> paths;    // that it was given; what else is in the entries are their parents
  bool without_v = false;            // the server was told of no 'v' capability and of protocol 31
  bool acknowledged = true;  // a real client that is acknowledged to removes what it still has to read
  std::string destination;   // a shell command that fills the working directory, $1 being the tree
};

// What the golden tree holds under that name; golden_capture.cc makes it.
inline PushEntry golden_entry(const std::string& path) {
  PushEntry entry;
  entry.path = path;
  entry.mtime_s = 1'600'000'000;
  const auto is = [&](uint32_t mode, uint64_t size) {
    entry.mode = mode;
    entry.size = size;
  };
  if (path == "dir" || path == "empty" || path == "dir/inner") is(S_IFDIR | 0755, 4096);
  if (path == "dir/one" || path == "empty.link") is(S_IFREG | 0644, 4);
  if (path == "dir/\xff odd\nname") is(S_IFREG | 0644, 3);
  if (path == "dir/inner/zero") is(S_IFREG | 0644, 0);
  if (path == "fifo") is(S_IFIFO | 0640, 0);
  if (path == "dir/one" || path == "empty.link") {
    entry.uid = 1;
    entry.gid = 2;
    entry.hlink_group = 1;
  }
  PosixAcl acl;
  acl.user_obj = 6;
  acl.group_obj = 4;
  acl.mask_obj = 4;
  acl.other_obj = 0;
  acl.names = {{true, 1, "", 4}};
  if (path == "dir.txt") {
    is(S_IFREG | 0640, 10);
    entry.mtime_s = -86400;
    entry.access_acl = acl;
  }
  if (path == "dir") entry.default_acl = acl;
  if (path == "symlink") {
    is(S_IFLNK | 0777, 7);
    entry.link_target = "dir/one";
  }
  if (path == "device") {
    is(S_IFBLK | 0660, 0);
    entry.rdev_major = 259;
    entry.rdev_minor = 70000;
  }
  if (path == "text") {
    is(S_IFREG | 0644, golden_text().size());
    entry.mtime_s = 1'700'000'000;
    entry.mtime_ns = 987'654'321;
    entry.xattrs = {{"user.small", "value", 5, false}, {"user.large", std::string(100, 'L'), 100, false}};
  }
  return entry;  // mode 0: there is none
}
inline std::string golden_contents(const std::string& path) {
  if (path == "text") return golden_text();
  if (path == "dir/one" || path == "empty.link") return "one\n";
  if (path == "dir.txt") return "beside dir";
  return path == "dir/\xff odd\nname" ? "odd" : "";
}

inline std::vector<GoldenPush> golden_pushes() {
  std::vector<GoldenPush> pushes;
  const auto add = [&](const std::string& name, PushKind kind, int protocol, std::vector<std::string> options,
                       std::vector<std::string> paths, std::vector<std::string> parents = {}) -> GoldenPush& {
    const bool sets_attributes =
        kind == PushKind::kAttributes || kind == PushKind::kCreate || kind == PushKind::kLink;
    if (sets_attributes && protocol >= 31) options.emplace_back("--modify-window=-1");
    GoldenPush push{
        .name = name, .config = {}, .options = std::move(options), .paths = paths, .destination = ":"};
    push.config.kind = kind;
    push.config.peer = PeerKind::kShell;
    push.config.max_protocol = protocol;
    push.config.checksum_seed = 4711;
    push.config.root = "/destination";
    paths.insert(paths.end(), parents.begin(), parents.end());
    for (const std::string& path : paths) {
      PushEntry entry = golden_entry(path);
      entry.touch = std::ranges::count(parents, path) == 0;
      if (kind != PushKind::kLink) entry.hlink_group = 0;
      push.config.entries.push_back(entry);
    }
    pushes.push_back(std::move(push));
    return pushes.back();
  };
  // A real client names a parent again after each directory within it; so none is within another's.
  const std::vector<std::string> files = {"dir.txt", "text", "dir/one", "dir/\xff odd\nname"};
  const std::vector<std::string> data = {"-tpl", "-I", "--fsync"};
  for (const int protocol : {30, 31, 32}) {
    add("data" + std::to_string(protocol), PushKind::kData, protocol, data, files, {"dir"}).destination =
        "cp $1/dir.txt .; head -c 1000 $1/text > text";
    GoldenPush& attributes =
        add("attributes" + std::to_string(protocol), PushKind::kAttributes, protocol,
            {"-tpl", "-D", "--size-only", "-o", "-g", "-A", "-X"},
            {"device", "dir.txt", "fifo", "symlink", "text", "dir/one", "empty"}, {"dir"});
    attributes.acknowledged = false;
    attributes.destination = "cp -a $1/. .; chmod 600 text dir/one fifo; setfattr -x user.large text";
    attributes.config.owner = attributes.config.acls = attributes.config.xattrs = true;
    add("create" + std::to_string(protocol), PushKind::kCreate, protocol, {"-tpl", "-D"},
        {"device", "fifo", "symlink", "dir/inner", "empty"}, {"dir"});
    add("delete" + std::to_string(protocol), PushKind::kDelete, protocol, {"-t", "--delete-missing-args"},
        {"gone", "gone too", "z"})
        .destination = "touch gone other; mkdir z";
    pushes.back().acknowledged = false;
  }
  add("link32", PushKind::kLink, 32, {"-tp", "-H"}, {"empty.link", "dir/one"}, {"dir"}).destination =
      "cp -a $1/empty.link .";
  add("whole32", PushKind::kWholeData, 32, {"-tpl", "-I", "--fsync", "-W"}, {"text", "dir/inner/zero"},
      {"dir", "dir/inner"});
  add("append32", PushKind::kAppend, 32, {"-tpl", "--fsync", "--append"}, {"text"}).destination =
      "head -c 1000 $1/text > text";
  GoldenPush& move =
      add("move32", PushKind::kMove, 32,
          {"-t", "-b", "--backup-dir=../elsewhere", "--force", "--delete-missing-args"}, {"gone"});
  move.acknowledged = false;
  move.destination = "mkdir gone; touch gone/inner";
  move.config.backup_dir = "../elsewhere";
  move.config.force = true;
  GoldenPush& names = add("names32", PushKind::kData, 32, {"-tpl", "-I", "--fsync", "-o", "-g"},
                          {"text", "dir/one"}, {"dir"});
  names.config.owner = true;
  names.config.numeric_ids = false;
  names.config.user_names = {{0, "root"}, {1, "daemon"}};
  names.config.group_names = {{0, "root"}, {2, "bin"}};
  GoldenPush& options = add("options32", PushKind::kData, 32,
                            {"-tpl", "-I", "-B4096", "--timeout=60", "--checksum-choice=md5", "--existing",
                             "--ignore-existing", "-b", "--backup-dir=x", "--suffix=.old"},
                            {"text"});
  options.config.block_length = 4096;
  options.config.io_timeout_s = 60;
  options.config.checksum = ChecksumKind::kMd5;
  options.config.only_existing = options.config.only_missing = true;
  options.config.backup_dir = "x";
  options.config.suffix = ".old";
  options.config.fsync = false;
  GoldenPush& old =
      add("without_v", PushKind::kAttributes, 31, {"-tpl", "-D", "--size-only", "-o", "-g", "-A", "-X"},
          {"device", "dir.txt", "fifo", "symlink", "text", "dir/one", "empty"}, {"dir"});
  old.config.owner = old.config.acls = old.config.xattrs = true;
  old.without_v = true;
  old.acknowledged = false;
  old.destination = "cp -a $1/. .; chmod 600 text dir/one";
  return pushes;
}

}  // namespace rsyncfs
