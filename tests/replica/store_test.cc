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
#include "sync/replica/xattr_sets.h"
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

// The tables of format 1, as they were.
constexpr const char* kFormat1 =
    "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; PRAGMA application_id=1920165425;"
    "CREATE TABLE meta(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE nodes(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  ino INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
    "  nlink INTEGER NOT NULL, rdev INTEGER NOT NULL, size INTEGER NOT NULL,"
    "  mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
    "  xattr_set INTEGER NOT NULL, listed_at_s INTEGER NOT NULL, orphan INTEGER NOT NULL, link_target BLOB);"
    "CREATE INDEX orphans ON nodes(id) WHERE orphan=1;"
    "CREATE TABLE names(parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL,"
    "  PRIMARY KEY(parent, name)) WITHOUT ROWID;"
    "CREATE INDEX names_of_node ON names(node);"
    "CREATE TABLE xattr_sets(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  hash INTEGER NOT NULL, uses INTEGER NOT NULL, items BLOB NOT NULL);"
    "CREATE INDEX xattr_sets_by_hash ON xattr_sets(hash);"
    "CREATE TABLE xattr_values(digest BLOB NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL,"
    "  PRIMARY KEY(digest, size));"
    "CREATE TABLE id_names(kind INTEGER NOT NULL, id INTEGER NOT NULL, name BLOB NOT NULL,"
    "  PRIMARY KEY(kind, id)) WITHOUT ROWID;"
    "CREATE TABLE contents(node INTEGER PRIMARY KEY, slab INTEGER NOT NULL, position INTEGER NOT NULL,"
    "  size INTEGER NOT NULL, present INTEGER NOT NULL, epoch INTEGER NOT NULL, extents BLOB,"
    "  digest_name BLOB, digest BLOB);"
    "CREATE UNIQUE INDEX content_files ON contents(position) WHERE slab=0 AND position>0;"
    "CREATE TABLE slabs(id INTEGER PRIMARY KEY, used INTEGER NOT NULL, live_files INTEGER NOT NULL,"
    "  live_bytes INTEGER NOT NULL, sealed INTEGER NOT NULL);"
    "CREATE TABLE totals(id INTEGER PRIMARY KEY CHECK(id=1), nodes INTEGER NOT NULL,"
    "  orphans INTEGER NOT NULL, cached_bytes INTEGER NOT NULL, cached_files INTEGER NOT NULL,"
    "  partial_files INTEGER NOT NULL);"
    "INSERT INTO nodes VALUES(1, 1, 16877, 0, 0, 2, 0, 0, 5, 6, 0, 99, 0, NULL);"
    "INSERT INTO nodes VALUES(2, 2, 33188, 7, 8, 1, 0, 0, 11, 12, 1, 0, 0, NULL);"
    "INSERT INTO nodes VALUES(9, 9, 33188, 0, 0, 0, 0, 4, 1, 1, 0, 0, 1, NULL);"
    "INSERT INTO names VALUES(1, x'66', 2);"
    "INSERT INTO contents VALUES(2, 0, 0, 0, 0, 1, NULL, 'test', x'00');"
    "INSERT INTO totals VALUES(1, 3, 1, 0, 1, 0);"
    "INSERT INTO meta VALUES(CAST('schema' AS BLOB), CAST('1' AS BLOB));"
    "INSERT INTO meta VALUES(CAST('source' AS BLOB), CAST('rsync://test/module' AS BLOB));"
    "INSERT INTO meta VALUES(CAST('user.x' AS BLOB), CAST('kept' AS BLOB));"
    "COMMIT;";

TEST(Store, BringsFormat1UpToDate) {
  const TemporaryDirectory tmp;
  { const auto store = open_store(tmp.path()); }
  std::filesystem::remove(tmp.path() + "/store.db");
  std::filesystem::remove(tmp.path() + "/store.db-wal");
  const StoredXattrs xattrs = {{"user.a", "b", 1, false}};
  {
    const auto db = must(Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
    must(db->execute(kFormat1));
    static constexpr Sql kSet{"INSERT INTO xattr_sets VALUES(1, 0, 1, ?)"};
    const std::string items = encode_xattrs(xattrs);
    must(Query(*db, kSet).blob(items).run());
  }
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = open_store(tmp.path());
    must(store->check());
    const Node file = must(store->lookup(kRootNode, "f"));
    EXPECT_EQ(file.id, 2U);
    EXPECT_EQ(file.attr.uid, 7U);
    EXPECT_EQ(file.attr.mtime_ns, 12U);
    EXPECT_EQ(file.differences, 0U);
    EXPECT_FALSE(file.ctime.has_value());
    EXPECT_EQ(must(store->xattrs(file.id)), xattrs);
    EXPECT_EQ(must(store->meta("x")), "kept");
    EXPECT_EQ(store->pending().summary().names, 0U);
  }
  const auto store = open_store(tmp.path());
  NewNode node;
  node.mode = S_IFREG | 0644;
  EXPECT_GT(must(store->local().create(kRootNode, "new", node)).id, 9U);
  EXPECT_EQ(must(store->purge_orphans(10)), 1U);
  must(store->check());
}

TEST(Store, BringsFormat3UpToDate) {
  const TemporaryDirectory tmp;
  NodeId node = 0;
  {
    const auto store = open_store(tmp.path());
    Listing listing;
    listing.file("f", 1000);
    node = only_node(apply(*store, kRootNode, listing));
    store_content(*store, node, known_bytes(1, 1000));
  }
  {
    const auto db = must(Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
    must(
        db->execute("DROP INDEX contents_by_use; ALTER TABLE contents DROP COLUMN used; DROP TABLE pins; "
                    "DROP TABLE bases; ALTER TABLE contents DROP COLUMN sums;"
                    "DROP INDEX later_versions;"));
    must(write_number(*db, "schema", 3));
  }
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = open_store(tmp.path());
    must(store->check());
    EXPECT_EQ(stored_content(*store, node), known_bytes(1, 1000));
    EXPECT_EQ(store->cache().pin_count(), static_cast<size_t>(opening));
    must(store->cache().pin(node));
  }
}

TEST(Store, BringsFormat4UpToDate) {
  const TemporaryDirectory tmp;
  NodeId node = 0;
  {
    const auto store = open_store(tmp.path());
    Listing listing;
    listing.file("f", 1000);
    node = only_node(apply(*store, kRootNode, listing));
    store_content(*store, node, known_bytes(1, 1000));
  }
  {
    const auto db = must(Connection::open(tmp.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
    must(db->execute("ALTER TABLE contents DROP COLUMN sums;"));
    must(write_number(*db, "schema", 4));
  }
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = open_store(tmp.path());
    must(store->check());
    EXPECT_EQ(stored_content(*store, node), known_bytes(1, 1000));
    store_content(*store, node, known_bytes(1, 1000));
  }
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
