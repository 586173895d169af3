// SPDX-License-Identifier: GPL-3.0-or-later
// Plays back what real servers sent (golden/README.md), cut in all ways, and checks every fact of the golden
// tree.
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/rsync/golden_cases.h"
#include "tests/support/blocking_pull.h"
#include "tests/support/seed.h"

namespace rsyncfs {

static void PrintTo(const GoldenCase& golden, std::ostream* out) {
  *out << golden.name;
}

namespace {

std::vector<std::byte> load(const std::string& name) {
  std::ifstream in(RSYNCFS_GOLDEN_DIR "/" + name + ".bin", std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto raw = std::as_bytes(std::span(bytes));
  return {raw.begin(), raw.end()};
}

// Asks in the order of the capture.
class Player : public PullEvents {
 public:
  explicit Player(const GoldenCase& golden) : golden_(golden), session_(config_of(golden), *this) {}

  void play(std::span<const std::byte> bytes, const std::function<size_t()>& piece) {
    while (!bytes.empty()) {
      const auto part = bytes.first(std::min(bytes.size(), piece()));
      bytes = bytes.subspan(part.size());
      const auto received = session_.receive(part);
      ASSERT_TRUE(received.ok()) << received.error().message();
    }
    const auto ended = session_.end_of_input();
    ASSERT_TRUE(ended.ok()) << ended.error().message();
  }

  PullSession& session() { return session_; }
  std::map<uint32_t, support::MemorySink> files;
  std::vector<std::pair<std::string, std::string>> xattrs;

 private:
  static PullConfig config_of(const GoldenCase& golden) {
    PullConfig config = golden.config;
    if (config.peer == PeerKind::kShell) config.root = "/anything";
    return config;
  }
  // The whole answer may come in the piece that held the list, so everything is asked before more is
  // received.
  void on_list(const FileList& list) override {
    for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
      if (!S_ISREG(list.entry(ndx).mode)) continue;
      const bool delta = golden_.delta && list.path(list.entry(ndx)) == "text";
      const std::string basis = delta ? golden_basis() : std::string();
      files.emplace(ndx, support::MemorySink(basis));
      session_.request_file(ndx, make_block_sums(std::as_bytes(std::span(basis)), session_.checksum(), 4711),
                            files.at(ndx));
    }
    EXPECT_TRUE(session_.request_xattrs(*list.find("text")));
  }
  void on_xattrs(uint32_t /*ndx*/, std::vector<std::pair<std::string, std::string>> values) override {
    xattrs = std::move(values);
    session_.finish();
  }

  const GoldenCase& golden_;
  PullSession session_;
};

struct Fact {
  const char* path;
  uint32_t mode;
  int64_t mtime_s;
  uint32_t mtime_ns;
  std::string contents;
};

const std::vector<Fact>& facts() {
  static const std::vector<Fact> kFacts = {
      {".", S_IFDIR | 0755, 1'600'000'000, 0, ""},
      {"device", S_IFBLK | 0660, 1'600'000'000, 0, ""},
      {"dir.txt", S_IFREG | 0640, -86400, 0, "beside dir"},
      {"empty.link", S_IFREG | 0644, 1'600'000'000, 0, "one\n"},
      {"fifo", S_IFIFO | 0640, 1'600'000'000, 0, ""},
      {"symlink", S_IFLNK | 0777, 1'600'000'000, 0, ""},
      {"text", S_IFREG | 0644, 1'700'000'000, 987'654'321, golden_text()},
      {"dir", S_IFDIR | 0755, 1'600'000'000, 0, ""},
      {"dir/one", S_IFREG | 0644, 1'600'000'000, 0, "one\n"},
      {"dir/\xff odd\nname", S_IFREG | 0644, 1'600'000'000, 0, "odd"},
      {"dir/inner", S_IFDIR | 0755, 1'600'000'000, 0, ""},
      {"dir/inner/zero", S_IFREG | 0644, 1'600'000'000, 0, ""},
      {"empty", S_IFDIR | 0755, 1'600'000'000, 0, ""},
  };
  return kFacts;
}

void expect_facts(const GoldenCase& golden, Player& player) {
  const FileList& list = player.session().list();
  std::vector<std::string> order;
  for (const FileEntry& entry : list.entries) order.push_back(list.path(entry));
  std::vector<std::string> expected;
  for (const Fact& fact : facts()) expected.push_back(fact.path);
  if (golden.name == "paths") {
    expected = {"missing", "text", "text", "dir", "dir/one", "dir/\xff odd\nname", "dir/inner"};
  }
  ASSERT_EQ(order, expected);
  for (const Fact& fact : facts()) {
    SCOPED_TRACE(fact.path);
    const auto ndx = list.find(fact.path);
    if (!ndx) continue;
    const FileEntry& entry = list.entry(*ndx);
    EXPECT_EQ(entry.mode, fact.mode);
    EXPECT_EQ(entry.mtime_s, fact.mtime_s);
    EXPECT_EQ(entry.mtime_ns, player.session().protocol() >= 31 ? fact.mtime_ns : 0u);
    if (!S_ISREG(fact.mode)) continue;
    EXPECT_EQ(entry.size, fact.contents.size());
    const support::MemorySink& file = player.files.at(*ndx);
    ASSERT_TRUE(file.end);
    EXPECT_EQ(file.end->status, FileEnd::Status::kGood);
    EXPECT_EQ(file.data, fact.contents);
    EXPECT_EQ(file.copied_bytes > 0, golden.delta && std::string(fact.path) == "text");
  }
}

void expect_extras(const FileList& list) {
  const auto extra = [&](const char* path) { return list.extra(list.entry(*list.find(path))); };
  EXPECT_EQ(extra("symlink").link_target, "dir/one");
  EXPECT_EQ(extra("device").rdev_major, 259u);
  EXPECT_EQ(extra("device").rdev_minor, 70000u);
  EXPECT_EQ(extra("fifo").rdev_major, 0u);
  EXPECT_NE(extra("dir/one").hlink_group, 0u);
  EXPECT_EQ(extra("dir/one").hlink_group, extra("empty.link").hlink_group);
  EXPECT_EQ(extra("text").hlink_group, 0u);
  const FileEntry& one = list.entry(*list.find("dir/one"));
  EXPECT_EQ(one.uid, 1u);
  EXPECT_EQ(one.gid, 2u);
}

void expect_attributes(const FileList& list, const Player& player) {
  const auto extra = [&](const char* path) { return list.extra(list.entry(*list.find(path))); };
  ASSERT_GE(extra("text").xattrs, 0);
  const XattrSet& set = list.xattr_sets[static_cast<size_t>(extra("text").xattrs)];
  ASSERT_EQ(set.size(), 2u);
  EXPECT_EQ(set[0].name, "user.large");
  EXPECT_EQ(set[0].size, 100u);
  EXPECT_EQ(set[1], (ListedXattr{"user.small", "value", 5, false}));
  ASSERT_EQ(player.xattrs.size(), 1u);
  EXPECT_EQ(player.xattrs[0], std::pair(std::string("user.large"), std::string(100, 'L')));
  if (!list.find("dir.txt")) return;
  ASSERT_GE(extra("dir.txt").access_acl, 0);
  const PosixAcl& acl = list.acls[static_cast<size_t>(extra("dir.txt").access_acl)];
  ASSERT_EQ(acl.names.size(), 1u);
  EXPECT_TRUE(acl.names[0].user);
  EXPECT_EQ(acl.names[0].id, 1u);
  EXPECT_EQ(acl.names[0].perms, 4u);
  EXPECT_FALSE(acl.other_obj);
  EXPECT_EQ(extra("dir.txt").default_acl, -1);
  EXPECT_EQ(extra("dir").access_acl, -1);
  ASSERT_GE(extra("dir").default_acl, 0);
  EXPECT_EQ(list.acls[static_cast<size_t>(extra("dir").default_acl)].user_obj, 6);
}

class Golden : public testing::TestWithParam<GoldenCase> {
 protected:
  void play(const std::function<size_t()>& piece) {
    const std::vector<std::byte> bytes = load(GetParam().name);
    ASSERT_FALSE(bytes.empty());
    Player player(GetParam());
    player.play(bytes, piece);
    if (HasFatalFailure()) return;
    EXPECT_EQ(player.session().state(), PullState::kEnded);
    EXPECT_EQ(player.session().checksum_seed(), 4711);
    EXPECT_EQ(player.session().protocol(), GetParam().config.max_protocol);
    const bool md5 = GetParam().without_v || GetParam().config.checksum == ChecksumKind::kMd5;
    EXPECT_EQ(player.session().checksum(), md5 ? ChecksumKind::kMd5 : ChecksumKind::kXxh128);
    EXPECT_EQ(player.session().compression(), GetParam().config.compression);
    expect_facts(GetParam(), player);
    const FileList& list = player.session().list();
    if (GetParam().name != "paths") expect_extras(list);
    expect_attributes(list, player);
    EXPECT_EQ(list.user_names.empty(), GetParam().config.numeric_ids);
    if (!GetParam().config.numeric_ids) {
      EXPECT_EQ(list.user_names.at(1), "daemon");
      // 'u' names id 0 too.
      EXPECT_EQ(list.user_names.contains(0), !GetParam().without_v);
    }
  }
};

TEST_P(Golden, Whole) {
  play([] { return size_t{1} << 20; });
}
TEST_P(Golden, ByteByByte) {
  play([] { return size_t{1}; });
}
TEST_P(Golden, RandomPieces) {
  const auto seed = static_cast<uint32_t>(support::test_seed());
  std::mt19937 random(seed);
  play([&] { return size_t{1} + random() % (random() % 3 == 0 ? 2000 : 20); });
}

// Cut short anywhere, the session says so and nothing worse.
TEST_P(Golden, CutAnywhere) {
  const std::vector<std::byte> bytes = load(GetParam().name);
  struct Quiet : PullEvents {
    void on_list(const FileList& /*list*/) override {}
  };
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 50) {
    Quiet events;
    PullConfig config = GetParam().config;
    if (config.peer == PeerKind::kShell) config.root = "/anything";
    PullSession session(config, events);
    if (!session.receive(std::span(bytes).first(size)).ok()) continue;  // replies to what was not asked
    const auto ended = session.end_of_input();
    ASSERT_FALSE(ended.ok());
    EXPECT_EQ(ended.error().code(), Errc::kDisconnected);
  }
}

// Turns each page at once, as the capture did.
class PagePlayer : public PullEvents {
 public:
  explicit PagePlayer(PullConfig config) : session(std::move(config), *this) {}
  void on_list(const FileList& /*list*/) override { ADD_FAILURE() << "a list as a whole"; }
  void on_page(ListPage page) override {
    pages.push_back(std::move(page));
    session.turn_pages();
  }
  void on_pages_end() override { ++ends; }

  std::vector<ListPage> pages;
  int ends = 0;
  PullSession session;
};

class GoldenPages : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    config_ = GetParam().config;
    if (config_.peer == PeerKind::kShell) config_.root = "/anything";
  }
  PullConfig config_;
};

const FileEntry* entry_of(const ListPage& page, const char* path) {
  const auto ndx = page.list.find(path);
  return ndx ? &page.list.entry(*ndx) : nullptr;
}

TEST_P(GoldenPages, AreDirectoriesInTheServersOrder) {
  const std::vector<std::byte> bytes = load(GetParam().name);
  ASSERT_FALSE(bytes.empty());
  for (const size_t piece : {bytes.size(), size_t{1}, size_t{37}}) {
    PagePlayer player(config_);
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = std::span(bytes).subspan(at, std::min(piece, bytes.size() - at));
      const auto received = player.session.receive(part);
      ASSERT_TRUE(received.ok()) << received.error().message();
    }
    EXPECT_EQ(player.ends, 1);
    EXPECT_TRUE(player.session.paged());
    std::vector<std::string> directories;
    std::vector<std::string> paths;
    for (const ListPage& page : player.pages) {
      directories.push_back(page.directory);
      EXPECT_EQ(page.list.io_error, 0u);
      for (const FileEntry& entry : page.list.entries) paths.push_back(page.list.path(entry));
    }
    EXPECT_EQ(directories, (std::vector<std::string>{"", "dir", "dir/inner", "empty"}));
    std::vector<std::string> expected;
    for (const Fact& fact : facts()) expected.emplace_back(fact.path);
    std::sort(expected.begin(), expected.end());
    std::sort(paths.begin(), paths.end());
    EXPECT_EQ(paths, expected);
  }
}

TEST_P(GoldenPages, HaveTheFactsOfTheTree) {
  const std::vector<std::byte> bytes = load(GetParam().name);
  PagePlayer player(config_);
  ASSERT_TRUE(player.session.receive(bytes).ok());
  ASSERT_EQ(player.pages.size(), 4u);
  const ListPage& root = player.pages[0];
  const ListPage& dir = player.pages[1];
  const FileEntry* text = entry_of(root, "text");
  const FileEntry* link = entry_of(root, "empty.link");
  const FileEntry* one = entry_of(dir, "dir/one");
  ASSERT_TRUE(text != nullptr && link != nullptr && one != nullptr);
  EXPECT_EQ(text->mtime_ns, GetParam().config.max_protocol >= 31 ? 987'654'321u : 0u);
  EXPECT_EQ(one->size, 4u);
  EXPECT_EQ(one->uid, 1u);
  EXPECT_EQ(one->gid, 2u);
  // One inode in two pages.
  EXPECT_NE(root.list.extra(*link).hlink_group, 0u);
  EXPECT_EQ(root.list.extra(*link).hlink_group, dir.list.extra(*one).hlink_group);
  // Each page has what it refers to.
  ASSERT_GE(root.list.extra(*text).xattrs, 0);
  EXPECT_EQ(root.list.xattr_sets.at(static_cast<size_t>(root.list.extra(*text).xattrs)).size(), 2u);
  const FileEntry* acl = entry_of(root, "dir.txt");
  ASSERT_NE(acl, nullptr);
  ASSERT_GE(root.list.extra(*acl).access_acl, 0);
  EXPECT_EQ(root.list.acls.at(static_cast<size_t>(root.list.extra(*acl).access_acl)).names.size(), 1u);
  EXPECT_TRUE(dir.list.acls.empty() && dir.list.xattr_sets.empty());
  // The names of ids stand where they are first met.
  EXPECT_EQ(root.list.user_names.at(1), "daemon");
}

TEST_P(GoldenPages, CutAnywhere) {
  const std::vector<std::byte> bytes = load(GetParam().name);
  for (size_t size = 0; size < bytes.size(); ++size) {
    PagePlayer player(config_);
    ASSERT_TRUE(player.session.receive(std::span(bytes).first(size)).ok());
    EXPECT_EQ(player.session.end_of_input().error().code(), Errc::kDisconnected);
  }
}

INSTANTIATE_TEST_SUITE_P(Conversations, GoldenPages, testing::ValuesIn(golden_pages()),
                         [](const auto& info_) { return info_.param.name; });
INSTANTIATE_TEST_SUITE_P(Conversations, Golden, testing::ValuesIn(golden_cases()),
                         [](const auto& info_) { return info_.param.name; });

}  // namespace
}  // namespace rsyncfs
