// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/replica/replica_rig.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <system_error>

namespace rsyncfs {

TemporaryDirectory::TemporaryDirectory() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/rsyncfs-replica-XXXXXX";
  RSYNCFS_CHECK(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

namespace {
IoChoice io_choice = IoChoice::kAuto;
}  // namespace

void use_io(IoChoice choice) {
  io_choice = choice;
}

std::unique_ptr<Replica> open_store(const std::string& directory) {
  ReplicaOptions options;
  options.io = io_choice;
  options.directory = directory;
  options.source = "rsync://test/module";
  return must(Replica::open(options));
}

NodeAttributes file_attributes(uint64_t size, int64_t mtime_s, uint32_t mode) {
  NodeAttributes attr;
  attr.mode = mode;
  attr.nlink = 0;
  attr.size = size;
  attr.mtime_s = mtime_s;
  return attr;
}

NodeAttributes directory_attributes() {
  return file_attributes(4096, 1, S_IFDIR | 0755);
}

ListedName& Listing::add(std::string name, const NodeAttributes& attr, uint32_t group) {
  texts_.push_back(std::move(name));
  ListedName listed;
  listed.name = texts_.back();
  listed.attr = attr;
  listed.hlink_group = group;
  added_.push_back(listed);
  return added_.back();
}

ListedName& Listing::link(std::string name, std::string target) {
  texts_.push_back(std::move(target));
  const std::string_view text = texts_.back();
  ListedName& listed = add(std::move(name), file_attributes(text.size(), 1, S_IFLNK | 0777));
  listed.link_target = text;
  return listed;
}

const std::vector<ListedName>& Listing::take() {
  names_.assign(added_.begin(), added_.end());
  std::sort(names_.begin(), names_.end(),
            [](const ListedName& a, const ListedName& b) { return a.name < b.name; });
  return names_;
}

Applied apply(Replica& replica, NodeId directory, Listing& listing, bool complete, HardLinkGroups& groups) {
  Applied out;
  auto batch = must(replica.begin());
  DirectoryChanges applied =
      must(batch->apply_directory(directory, listing.take(), complete, groups, out.nodes));
  out.changes = std::move(applied.changes);
  out.collisions = std::move(applied.collisions);
  must(batch->commit());
  return out;
}

Applied apply(Replica& replica, NodeId directory, Listing& listing, bool complete) {
  HardLinkGroups groups;
  return apply(replica, directory, listing, complete, groups);
}

NodeId only_node(const Applied& applied) {
  EXPECT_EQ(applied.nodes.size(), 1U);
  return applied.nodes.at(0);
}

std::vector<std::byte> known_bytes(uint64_t seed, uint64_t size) {
  std::vector<std::byte> out(size);
  std::mt19937_64 random(seed);
  uint64_t at = 0;
  while (at < size) {
    const uint64_t run = std::min<uint64_t>(size - at, 1 + random() % 20000);
    if (random() % 3 != 0) {
      for (uint64_t i = at; i < at + run; ++i) out[i] = static_cast<std::byte>((seed + i * 131) >> (i % 5));
    }
    at += run;
  }
  return out;
}

void store_content(Replica& replica, NodeId node, const std::vector<std::byte>& bytes) {
  auto writer = must(replica.create_content(node, bytes.size()));
  must(writer->write(0, bytes));
  std::vector<Replica::FinishedContent> finished(1);
  finished[0].node = node;
  finished[0].writer = std::move(writer);
  finished[0].size = bytes.size();
  finished[0].digest_name = "test";
  must(replica.finish_contents(std::move(finished)));
}

std::vector<std::byte> stored_content(Replica& replica, NodeId node) {
  const auto content = must(replica.content(node));
  if (content == nullptr || !content->complete()) {
    ADD_FAILURE() << "node " << node << " has no complete content";
    return {};
  }
  const auto view = content->view(0, content->size());
  return {view->begin(), view->end()};
}

}  // namespace rsyncfs
