// SPDX-License-Identifier: GPL-3.0-or-later
// Opening, locking, settings: the store as a whole.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "sync/replica/database.h"
#include "sync/replica/schema.h"
#include "tests/replica/replica_rig.h"

namespace rsyncfs {
namespace {

using testing::HasSubstr;

TEST(Store, StartsWithARoot) {
  const TemporaryDirectory tmp;
  const auto store = open_store(tmp.path() + "/deep/er");
  const Node root = must(store->node(kRootNode));
  EXPECT_EQ(root.ino, 1U);
  EXPECT_TRUE(S_ISDIR(root.attr.mode));
  EXPECT_EQ(root.listed_at_s, 0);
  EXPECT_EQ(must(store->statistics()).nodes, 1U);
  EXPECT_EQ(store->lookup(kRootNode, "x").error().code(), Errc::kNotFound);
  EXPECT_EQ(store->node(17).error().code(), Errc::kNotFound);
  must(store->check());
}

TEST(Store, IsPrivate) {
  const TemporaryDirectory tmp;
  const std::string path = tmp.path() + "/store";
  { const auto store = open_store(path); }
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  ASSERT_EQ(chmod(path.c_str(), 0770), 0);
  const auto refused = Replica::open({.directory = path, .source = "rsync://test/module"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kRefused);
}

TEST(Store, HasOneOpener) {
  const TemporaryDirectory tmp;
  const auto store = open_store(tmp.path());
  const auto second = Replica::open({.directory = tmp.path(), .source = "rsync://test/module"});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Errc::kRefused);
  EXPECT_THAT(second.error().message(), HasSubstr(std::to_string(getpid())));
}

TEST(Store, BelongsToOneSource) {
  const TemporaryDirectory tmp;
  { const auto store = open_store(tmp.path()); }
  const auto other = Replica::open({.directory = tmp.path(), .source = "rsync://other/module"});
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code(), Errc::kRefused);
  EXPECT_THAT(other.error().message(), HasSubstr("rsync://test/module"));
  const auto again = open_store(tmp.path());
}

TEST(Store, RefusesANewerFormat) {
  const TemporaryDirectory tmp;
  { const auto store = open_store(tmp.path()); }
  {
    const auto db = must(Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
    must(write_number(*db, "schema", static_cast<uint64_t>(kSchemaVersion) + 1));
  }
  const auto newer = Replica::open({.directory = tmp.path(), .source = "rsync://test/module"});
  ASSERT_FALSE(newer.ok());
  EXPECT_EQ(newer.error().code(), Errc::kUnsupported);
  EXPECT_THAT(newer.error().message(), HasSubstr("newer"));
}

TEST(Store, RefusesAForeignDatabase) {
  const TemporaryDirectory tmp;
  std::filesystem::create_directories(tmp.path() + "/store");
  std::filesystem::permissions(tmp.path() + "/store", std::filesystem::perms::owner_all);
  std::ofstream(tmp.path() + "/store/store.db") << std::string(5000, 'x');
  const auto refused = Replica::open({.directory = tmp.path() + "/store", .source = "s"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kCorrupt);
}

TEST(Store, KeepsSettings) {
  const TemporaryDirectory tmp;
  {
    const auto store = open_store(tmp.path());
    EXPECT_EQ(must(store->meta("last_synced_s")), std::nullopt);
    must(store->set_meta("last_synced_s", "17"));
    must(store->set_meta("last_synced_s", "18"));
    // The user's settings are not ours.
    must(store->set_meta("schema", "99"));
  }
  const auto store = open_store(tmp.path());
  EXPECT_EQ(must(store->meta("last_synced_s")), "18");
  EXPECT_EQ(must(store->meta("schema")), "99");
}

TEST(Store, KeepsIdNames) {
  const TemporaryDirectory tmp;
  {
    const auto store = open_store(tmp.path());
    must(store->store_id_names({{0, "root"}, {1000, "ann"}}, {{5, "five"}}));
    must(store->store_id_names({{1000, "anna"}, {4294967294U, "max"}}, {}));
  }
  const auto store = open_store(tmp.path());
  const auto names = must(store->id_names());
  EXPECT_EQ(names.first,
            (std::map<uint32_t, std::string>{{0, "root"}, {1000, "anna"}, {4294967294U, "max"}}));
  EXPECT_EQ(names.second, (std::map<uint32_t, std::string>{{5, "five"}}));
}

TEST(Store, KeepsXattrValues) {
  const TemporaryDirectory tmp;
  const auto store = open_store(tmp.path());
  const std::string digest("\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\7", 16);
  EXPECT_EQ(must(store->xattr_value(digest, 3)), std::nullopt);
  must(store->store_xattr_value(digest, 3, "abc"));
  must(store->store_xattr_value(digest, 3, "abc"));
  must(store->store_xattr_value(digest, 0, ""));
  EXPECT_EQ(must(store->xattr_value(digest, 3)), "abc");
  EXPECT_EQ(must(store->xattr_value(digest, 0)), "");
}

TEST(Store, AStateDirectoryOfAnotherBootDropsWhatWasNotSynced) {
  const TemporaryDirectory tmp;
  NodeId before = 0;
  NodeId after = 0;
  {
    auto store = open_store(tmp.path());
    Listing listing;
    listing.file("before", 100);
    listing.file("after", 100000);
    const auto nodes = apply(*store, kRootNode, listing).nodes;
    after = nodes[0];
    before = nodes[1];
    store_content(*store, before, known_bytes(1, 100));
    store.reset();  // syncs
    store = open_store(tmp.path());
    // This process goes on in a child, which is killed before anything is synced.
    store.reset();
    const pid_t child = fork();
    if (child == 0) {
      auto mine = open_store(tmp.path());
      store_content(*mine, after, known_bytes(2, 100000));
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  {
    const auto store = open_store(tmp.path());
    EXPECT_EQ(stored_content(*store, before), known_bytes(1, 100));
    EXPECT_EQ(stored_content(*store, after), known_bytes(2, 100000));
    // As if the process had been killed, not ended: the destructor would sync.
  }
  const pid_t child = fork();
  if (child == 0) {
    auto mine = open_store(tmp.path());
    must(mine->drop_content(after));
    store_content(*mine, after, known_bytes(2, 100000));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  {
    const auto db = must(Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
    must(write_setting(*db, "boot", "another"));
  }
  const auto store = open_store(tmp.path());
  EXPECT_EQ(stored_content(*store, before), known_bytes(1, 100));
  EXPECT_EQ(must(store->content(after)), nullptr);
  must(store->check());
}

}  // namespace
}  // namespace rsyncfs
