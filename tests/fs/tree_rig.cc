// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fs/tree_rig.h"

#include <algorithm>
#include <utility>

#include "tests/support/setup_failure.h"

namespace rsyncfs::testing {
namespace {

using support::fail_setup;

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) fail_setup(std::string(what) + ": " + result.error().message());
  return std::move(*result);
}

void need(const Result<void>& result, const char* what) {
  if (!result) fail_setup(std::string(what) + ": " + result.error().message());
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

Name file(std::string name, uint64_t size, uint32_t permissions, int64_t mtime_s) {
  Name made;
  made.name = std::move(name);
  made.attr.mode = S_IFREG | permissions;
  made.attr.size = size;
  made.attr.mtime_s = mtime_s;
  return made;
}

Name directory(std::string name, uint32_t permissions) {
  Name made;
  made.name = std::move(name);
  made.attr.mode = S_IFDIR | permissions;
  made.attr.size = 4096;
  made.attr.nlink = 2;
  made.attr.mtime_s = 1'600'000'000;
  return made;
}

Name symlink(std::string name, std::string target) {
  Name made;
  made.name = std::move(name);
  made.attr.mode = S_IFLNK | 0777;
  made.attr.size = target.size();
  made.attr.mtime_s = 1'500'000'000;
  made.target = std::move(target);
  return made;
}

void RecordingCaches::record(std::string call) {
  if (inside) inside();
  const std::lock_guard lock(mutex_);
  calls_.push_back(std::move(call));
}

int RecordingCaches::drop_entry(NodeId parent, std::string_view name) {
  record("entry " + std::to_string(parent) + " " + std::string(name));
  return 0;
}

int RecordingCaches::drop_attributes(NodeId node) {
  record("attributes " + std::to_string(node));
  return 0;
}

int RecordingCaches::drop_all(NodeId node) {
  record("all " + std::to_string(node));
  return 0;
}

std::vector<std::string> RecordingCaches::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

void RecordingCaches::clear() {
  const std::lock_guard lock(mutex_);
  calls_.clear();
}

TreeRig::TreeRig() {
  ReplicaOptions options;
  options.directory = dir / "state";
  options.source = "rsync://test/module";
  replica = need(Replica::open(options), "opening the store");
  ListedName root;
  root.attr = directory("").attr;
  auto batch = need(replica->begin(), "begin");
  need(batch->apply_attributes(kRootNode, root), "root attributes");
  need(batch->commit(), "commit");
  TreeOptions tree_options;
  tree_options.events = &notifier;
  tree = std::make_unique<Tree>(*replica, syncer, executor, tree_options);
}

TreeRig::~TreeRig() {
  syncer.fail_all(Errc::kCanceled);
  syncer.wait_for_waiting(0, std::chrono::seconds(5));
}

std::vector<NameChange> TreeRig::list_quietly(NodeId parent, std::vector<Name> names,
                                              std::map<std::string, NodeId>* nodes) {
  std::sort(names.begin(), names.end(), [](const Name& a, const Name& b) { return a.name < b.name; });
  std::vector<ListedName> listed;
  for (const Name& name : names) {
    ListedName entry;
    entry.name = name.name;
    entry.attr = name.attr;
    entry.link_target = name.target;
    entry.xattrs = name.xattrs.empty() ? nullptr : &name.xattrs;
    entry.hlink_group = name.group;
    listed.push_back(entry);
  }
  HardLinkGroups groups;
  std::vector<NodeId> ids;
  auto batch = need(replica->begin(), "begin");
  std::vector<NameChange> changes =
      need(batch->apply_directory(parent, listed, true, groups, ids), "apply_directory").changes;
  need(batch->commit(), "commit");
  if (nodes != nullptr) {
    for (size_t i = 0; i < ids.size(); ++i) (*nodes)[names[i].name] = ids[i];
  }
  return changes;
}

std::map<std::string, NodeId> TreeRig::list(NodeId parent, std::vector<Name> names) {
  std::map<std::string, NodeId> nodes;
  notifier.on_changes(list_quietly(parent, std::move(names), &nodes));
  return nodes;
}

void TreeRig::fill(NodeId id, std::string_view content) {
  Replica::FinishedContent finished;
  finished.node = id;
  finished.size = content.size();
  finished.writer = need(replica->create_content(id, content.size()), "create_content");
  need(finished.writer->write(0, bytes_of(content)), "write");
  std::vector<Replica::FinishedContent> all;
  all.push_back(std::move(finished));
  need(replica->finish_contents(std::move(all)), "finish_contents");
}

void TreeRig::fill_start(NodeId id, std::string_view content, uint64_t size) {
  const auto writer = need(replica->create_content(id, size), "create_content");
  need(writer->write(0, bytes_of(content)), "write");
  need(writer->commit_partial(), "commit_partial");
}

void TreeRig::fill_sparse(NodeId id, uint64_t size, std::string_view mark, uint64_t mark_offset) {
  std::string content(size, '\0');
  content.replace(mark_offset, mark.size(), mark);
  fill(id, content);
}

NodeId TreeRig::node(std::string_view path) const {
  NodeId at = kRootNode;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    at = need(replica->lookup(at, path.substr(0, slash)), "lookup").id;
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return at;
}

NodeId TreeRig::know(NodeId parent, std::string_view name) {
  const NodeId found = need(lookup(parent, name), "lookup").node;
  if (found == 0) fail_setup("no such name: " + std::string(name));
  return found;
}

Result<Entry> TreeRig::lookup(NodeId parent, std::string_view name) {
  return wait_for<Entry>([&](Done<Entry> done) { tree->lookup(parent, name, std::move(done)); });
}

Result<struct stat> TreeRig::getattr(NodeId id) {
  return wait_for<struct stat>([&](Done<struct stat> done) { tree->getattr(id, std::move(done)); });
}

Result<std::string> TreeRig::read(NodeId id, uint64_t offset, uint32_t length) {
  const auto got =
      wait_for<ReadBytes>([&](Done<ReadBytes> done) { tree->read(id, offset, length, std::move(done)); });
  if (!got) return got.error();
  return std::string(reinterpret_cast<const char*>(got->bytes.data()), got->bytes.size());
}

Result<std::string> TreeRig::getxattr(NodeId id, std::string_view name, size_t limit) {
  auto got =
      wait_for<XattrValue>([&](Done<XattrValue> done) { tree->getxattr(id, name, limit, std::move(done)); });
  if (!got) return got.error();
  return limit == 0 ? std::to_string(got->size) : std::move(got->value);
}

Result<std::vector<std::string>> TreeRig::listxattr(NodeId id, bool privileged) {
  const auto got = wait_for<std::string>(
      [&](Done<std::string> done) { tree->listxattr(id, privileged, std::move(done)); });
  if (!got) return got.error();
  std::vector<std::string> names;
  for (size_t at = 0; at < got->size(); at = got->find('\0', at) + 1) names.emplace_back(got->c_str() + at);
  return names;
}

}  // namespace rsyncfs::testing
