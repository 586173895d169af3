// SPDX-License-Identifier: GPL-3.0-or-later
// Random changes of an obvious source tree, listed into the store: afterwards both must be the same tree.
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/replica_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

using InodeId = uint64_t;

struct Inode {
  NodeAttributes attr;
  std::string target;
  StoredXattrs xattrs;
  uint64_t version = 0;  // seed of the bytes
  std::map<std::string, InodeId> children;
  bool is_directory() const { return S_ISDIR(attr.mode); }
};

// The source: inodes and names, nothing clever.
class Source {
 public:
  explicit Source(uint64_t seed) : random_(seed) { inodes_[0].attr = directory_attributes(); }

  void change() {
    static constexpr void (Source::*kChanges[])() = {
        &Source::create,    &Source::create, &Source::create,     &Source::hard_link,
        &Source::hard_link, &Source::remove, &Source::move,       &Source::edit,
        &Source::replace,   &Source::touch,  &Source::break_link, &Source::decorate};
    (this->*kChanges[random_() % std::size(kChanges)])();
  }
  const Inode& inode(InodeId id) const { return inodes_.at(id); }
  uint32_t links(InodeId id) const {
    uint32_t count = 0;
    for (const auto& [directory, inode] : inodes_) {
      for (const auto& [name, child] : inode.children) count += child == id;
    }
    return count;
  }
  std::vector<InodeId> directories() const {
    std::vector<InodeId> out;
    for (const auto& [id, inode] : inodes_) {
      if (inode.is_directory()) out.push_back(id);
    }
    return out;
  }

 private:
  InodeId any_directory() {
    const auto all = directories();
    return all[random_() % all.size()];
  }
  std::string any_name() { return std::string(1 + random_() % 2, static_cast<char>('a' + random_() % 12)); }
  // A name that exists; false if the directory that was hit is empty.
  bool pick(InodeId& directory, std::string& name) {
    directory = any_directory();
    const auto& children = inodes_[directory].children;
    if (children.empty()) return false;
    name = std::next(children.begin(), static_cast<long>(random_() % children.size()))->first;
    return true;
  }
  void erase(InodeId directory, const std::string& name) {
    const InodeId id = inodes_[directory].children.at(name);
    inodes_[directory].children.erase(name);
    while (!inodes_[id].children.empty()) erase(id, inodes_[id].children.begin()->first);
    if (links(id) == 0) inodes_.erase(id);
  }
  InodeId make() {
    const InodeId id = next_++;
    Inode& inode = inodes_[id];
    switch (random_() % 8) {
      case 0:
      case 1:
        inode.attr = directory_attributes();
        // Few times: some are taken for others that were renamed.
        inode.attr.mtime_ns = static_cast<uint32_t>(random_() % 4);
        break;
      case 2:
        inode.target = any_name();
        inode.attr = file_attributes(inode.target.size(), ++clock_, S_IFLNK | 0777);
        break;
      case 3:
        inode.attr = file_attributes(0, ++clock_, S_IFIFO | 0600);
        break;
      case 4:
        inode.attr = file_attributes(0, ++clock_, S_IFCHR | 0600);
        inode.attr.rdev_minor = static_cast<uint32_t>(random_() % 3);
        break;
      default:
        inode.attr = file_attributes(random_() % 3000, ++clock_);
        inode.version = next_++;
    }
    return id;
  }
  void create() {
    Inode& directory = inodes_[any_directory()];
    const std::string name = any_name();
    if (directory.children.count(name) == 0) directory.children[name] = make();
  }
  void hard_link() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    const InodeId id = inodes_[from].children[name];
    if (!inodes_[id].is_directory()) inodes_[any_directory()].children.try_emplace(any_name(), id);
  }
  void remove() {
    InodeId from = 0;
    std::string name;
    if (pick(from, name) && random_() % 2 == 0) erase(from, name);
  }
  void move() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    const InodeId id = inodes_[from].children[name];
    Inode& to = inodes_[inodes_[id].is_directory() ? from : any_directory()];
    const std::string new_name = any_name();
    if (to.children.count(new_name) != 0) return;
    inodes_[from].children.erase(name);
    to.children[new_name] = id;
  }
  void edit() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    Inode& inode = inodes_[inodes_[from].children[name]];
    if (S_ISLNK(inode.attr.mode)) inode.target = any_name();
    if (S_ISREG(inode.attr.mode)) {
      inode.attr.size = random_() % 3000;
      inode.version = next_++;
    }
    inode.attr.mtime_s = ++clock_;
  }
  void replace() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    erase(from, name);
    inodes_[from].children[name] = make();
  }
  void touch() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    Inode& inode = inodes_[inodes_[from].children[name]];
    inode.attr.mode ^= 1U << (random_() % 9);
    inode.attr.uid = static_cast<uint32_t>(random_() % 3);
  }
  // One of several names becomes an inode of its own with the same size, time and bytes.
  void break_link() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    const InodeId id = inodes_[from].children[name];
    if (inodes_[id].is_directory() || links(id) < 2) return;
    const InodeId copy = next_++;
    inodes_[copy] = inodes_[id];
    inodes_[from].children[name] = copy;
  }
  void decorate() {
    InodeId from = 0;
    std::string name;
    if (!pick(from, name)) return;
    StoredXattrs& xattrs = inodes_[inodes_[from].children[name]].xattrs;
    if (random_() % 3 == 0) {
      xattrs.clear();
    } else {
      xattrs = {{"user.x", std::string(random_() % 4, 'v'), 0, false}};
    }
  }

  std::mt19937_64 random_;
  std::map<InodeId, Inode> inodes_;
  InodeId next_ = 1;
  int64_t clock_ = 0;
};

class Model {
 public:
  Model(Replica& store, uint64_t seed) : store_(store), random_(seed), source_(seed + 1) {}

  void round() {
    for (uint64_t i = random_() % 30; i > 0; --i) source_.change();
    // Some directories are listed alone before the whole is: they know less of hard links.
    if (random_() % 2 == 0) list_some();
    HardLinkGroups groups;
    list_tree(0, kRootNode, groups);
    compare_tree();
    ASSERT_EQ(list_again(), 0U);
    fetch_some();
    forget_some();
    must(store_.check());
  }

 private:
  Applied list_one(InodeId inode, NodeId node, bool complete, bool whole, HardLinkGroups& groups) {
    Listing listing;
    for (const auto& [name, child] : source_.inode(inode).children) {
      const uint32_t links = source_.links(child);
      const Inode& entry = source_.inode(child);
      if (!complete && random_() % 3 == 0) continue;
      ListedName& listed = listing.add(name, entry.attr, links > 1 ? static_cast<uint32_t>(child) : 0);
      if (!entry.is_directory() && whole) listed.attr.nlink = links;
      listed.link_target = entry.target;
      listed.xattrs = entry.xattrs.empty() ? nullptr : &entry.xattrs;
    }
    return apply(store_, node, listing, complete, groups);
  }

  void list_tree(InodeId inode, NodeId node, HardLinkGroups& groups) {
    changes_ += list_one(inode, node, true, true, groups).changes.size();
    for (const auto& [name, child] : source_.inode(inode).children) {
      if (!source_.inode(child).is_directory()) continue;
      list_tree(child, must(store_.lookup(node, name)).id, groups);
    }
  }

  size_t list_again() {
    HardLinkGroups groups;
    changes_ = 0;
    list_tree(0, kRootNode, groups);
    return changes_;
  }

  void list_some() {
    InodeId inode = 0;
    NodeId node = kRootNode;
    for (int depth = 0; depth < 4; ++depth) {
      HardLinkGroups groups;
      list_one(inode, node, random_() % 2 == 0, false, groups);
      must(store_.check());
      for (const auto& [name, child] : source_.inode(inode).children) {
        const auto next = store_.lookup(node, name);
        if (!source_.inode(child).is_directory() || !next || !S_ISDIR(next->attr.mode)) continue;
        inode = child;
        node = next->id;
        break;
      }
    }
  }

  void compare_tree() {
    nodes_.clear();
    std::map<InodeId, NodeId> node_of;
    std::set<uint64_t> inos;
    compare(0, kRootNode, node_of);
    for (const auto& [inode, node] : node_of) {
      ASSERT_TRUE(inos.insert(must(store_.node(node)).ino).second) << "one ino for two inodes";
    }
    // One inode, one node; the rest are orphans.
    std::set<NodeId> live;
    for (const auto& [inode, node] : node_of)
      ASSERT_TRUE(live.insert(node).second) << "one node for two inodes";
    for (const auto& [inode, node] : known_) {
      const auto now = node_of.find(inode);
      if (now == node_of.end()) continue;
      // What was not touched stays where it is: a file or directory of one name in a directory that stayed
      // too.
      const uint32_t mode = source_.inode(inode).attr.mode;
      if ((S_ISREG(mode) || S_ISDIR(mode)) && source_.links(inode) <= 1 && link_counts_[inode] <= 1 &&
          versions_[inode] == source_.inode(inode).version &&
          places_[inode] == place_of(now->second, node_of)) {
        ASSERT_EQ(now->second, node) << must(store_.path_of(now->second));
      }
    }
    known_ = node_of;
    for (const auto& [inode, node] : node_of) {
      versions_[inode] = source_.inode(inode).version;
      places_[inode] = place_of(node, node_of);
      link_counts_[inode] = source_.links(inode);
      if (S_ISREG(source_.inode(inode).attr.mode)) nodes_.emplace_back(node, source_.inode(inode).version);
    }
  }

  // The names and inodes that lead to it.
  std::vector<std::string> place_of(NodeId node, const std::map<InodeId, NodeId>& node_of) {
    std::vector<std::string> out;
    while (node != kRootNode) {
      auto [parent, name] = must(store_.name_of(node));
      out.push_back(std::move(name));
      for (const auto& [inode, known] : node_of) {
        if (known == parent) out.push_back(std::to_string(inode));
      }
      node = parent;
    }
    return out;
  }

  void compare(InodeId inode, NodeId node, std::map<InodeId, NodeId>& node_of) {
    const auto& children = source_.inode(inode).children;
    uint32_t subdirectories = 0;
    auto expected = children.begin();
    std::vector<std::pair<std::string, Node>> stored;
    must(store_.list(
        node, [&stored](std::string_view name, const Node& child) { stored.emplace_back(name, child); }));
    ASSERT_EQ(stored.size(), children.size());
    for (const auto& [name, child] : stored) {
      ASSERT_EQ(name, expected->first);
      const InodeId id = expected->second;
      const Inode& entry = source_.inode(id);
      NodeAttributes attr = entry.attr;
      attr.nlink = entry.is_directory() ? child.attr.nlink : source_.links(id);
      ASSERT_EQ(child.attr, attr) << name;
      ASSERT_EQ(must(store_.link_target(child.id)), entry.target);
      ASSERT_EQ(must(store_.xattrs(child.id)), entry.xattrs);
      const auto [known, is_new] = node_of.emplace(id, child.id);
      ASSERT_EQ(known->second, child.id) << name << " is no hard link in the store";
      const auto content = must(store_.content(child.id));
      if (content != nullptr) {
        ASSERT_EQ(stored_content(store_, child.id), known_bytes(entry.version, entry.attr.size));
      }
      if (entry.is_directory()) {
        ++subdirectories;
        compare(id, child.id, node_of);
        if (testing::Test::HasFatalFailure()) return;
      }
      ++expected;
    }
    ASSERT_EQ(must(store_.node(node)).attr.nlink, 2 + subdirectories);
  }

  void fetch_some() {
    for (const auto& [node, version] : nodes_) {
      if (random_() % 4 != 0) continue;
      const uint64_t size = must(store_.node(node)).attr.size;
      store_content(store_, node, known_bytes(version, size));
      fetched_[node] = {version, size};
    }
    // What was forgotten and stayed as a basis goes when the newer version is here.
    std::erase_if(fetched_, [this](const auto& item) {
      return forgotten_.contains(item.first) && !store_.node(item.first).ok();
    });
    // The old versions are still there for who has them open.
    for (const auto& [node, what] : fetched_) {
      ASSERT_EQ(stored_content(store_, node), known_bytes(what.first, what.second));
    }
  }

  void forget_some() {
    std::vector<NodeId> some;
    for (const auto& [node, what] : fetched_) {
      if (random_() % 3 == 0) some.push_back(node);
    }
    must(store_.forget_orphans(some));
    forgotten_.insert(some.begin(), some.end());
    for (const NodeId node : some) {
      if (!store_.node(node).ok()) {
        ASSERT_EQ(must(store_.content(node)), nullptr);
        fetched_.erase(node);
      }
    }
    // What is left are orphans that nobody holds.
    if (random_() % 5 == 0) {
      must(store_.purge_orphans(1000));
      std::erase_if(fetched_, [this](const auto& item) { return !store_.node(item.first).ok(); });
    }
  }

  Replica& store_;
  std::mt19937_64 random_;
  Source source_;
  size_t changes_ = 0;
  std::vector<std::pair<NodeId, uint64_t>> nodes_;
  std::map<NodeId, std::pair<uint64_t, uint64_t>> fetched_;
  std::set<NodeId> forgotten_;  // by the kernel, if they were orphans
  std::map<InodeId, NodeId> known_;
  std::map<InodeId, uint64_t> versions_;
  std::map<InodeId, std::vector<std::string>> places_;
  std::map<InodeId, uint32_t> link_counts_;
};

TEST(ReconcileModel, RandomTreesAgree) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (int tree = 0; tree < 6; ++tree) {
    const TemporaryDirectory tmp;
    const auto store = open_store(tmp.path());
    Model model(*store, random());
    for (int round = 0; round < 40; ++round) {
      model.round();
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace rsyncfs
