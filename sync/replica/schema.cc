// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/schema.h"

#include <sys/stat.h>

#include <charconv>

namespace rsyncfs {
namespace {

constexpr const char* kPragmas =
    // 4 KiB pages: a small cache holds more different places.
    "PRAGMA page_size=4096;"
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=NORMAL;"
    // The housekeeper moves the log into the database, on its own thread.
    "PRAGMA wal_autocheckpoint=0;"
    "PRAGMA journal_size_limit=16777216;";

constexpr const char* kTables =
    "BEGIN IMMEDIATE;"
    "PRAGMA application_id=1920165425;"  // "rsf1"
    "CREATE TABLE meta(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE nodes("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  ino INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
    "  nlink INTEGER NOT NULL, rdev INTEGER NOT NULL, size INTEGER NOT NULL,"
    "  mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
    "  xattr_set INTEGER NOT NULL, listed_at_s INTEGER NOT NULL, orphan INTEGER NOT NULL, link_target BLOB);"
    "CREATE INDEX orphans ON nodes(id) WHERE orphan=1;"
    "CREATE TABLE names("
    "  parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL,"
    "  PRIMARY KEY(parent, name)) WITHOUT ROWID;"
    "CREATE INDEX names_of_node ON names(node);"
    "CREATE TABLE xattr_sets("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  hash INTEGER NOT NULL, uses INTEGER NOT NULL, items BLOB NOT NULL);"
    "CREATE INDEX xattr_sets_by_hash ON xattr_sets(hash);"
    "CREATE TABLE xattr_values(digest BLOB NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL,"
    "  PRIMARY KEY(digest, size));"
    "CREATE TABLE id_names(kind INTEGER NOT NULL, id INTEGER NOT NULL, name BLOB NOT NULL,"
    "  PRIMARY KEY(kind, id)) WITHOUT ROWID;"
    "CREATE TABLE contents("
    "  node INTEGER PRIMARY KEY,"
    "  slab INTEGER NOT NULL, position INTEGER NOT NULL, size INTEGER NOT NULL, present INTEGER NOT NULL,"
    "  epoch INTEGER NOT NULL, extents BLOB, digest_name BLOB, digest BLOB);"
    "CREATE UNIQUE INDEX content_files ON contents(position) WHERE slab=0 AND position>0;"
    "CREATE TABLE slabs("
    "  id INTEGER PRIMARY KEY,"
    "  used INTEGER NOT NULL, live_files INTEGER NOT NULL, live_bytes INTEGER NOT NULL, sealed INTEGER NOT "
    "NULL);"
    "CREATE TABLE totals("
    "  id INTEGER PRIMARY KEY CHECK(id=1),"
    "  nodes INTEGER NOT NULL, orphans INTEGER NOT NULL, cached_bytes INTEGER NOT NULL,"
    "  cached_files INTEGER NOT NULL, partial_files INTEGER NOT NULL);"
    "INSERT INTO totals VALUES(1, 1, 0, 0, 0, 0);";

// From format 1 to format 2: what users of the mount change.
constexpr const char* kLocalChanges =
    "ALTER TABLE nodes ADD COLUMN ctime_s INTEGER;"
    "ALTER TABLE nodes ADD COLUMN ctime_ns INTEGER;"
    "ALTER TABLE nodes ADD COLUMN atime_s INTEGER;"
    "ALTER TABLE nodes ADD COLUMN atime_ns INTEGER;"
    "ALTER TABLE nodes ADD COLUMN differences INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE base_nodes("
    "  node INTEGER PRIMARY KEY, present INTEGER NOT NULL, foreign_bytes INTEGER NOT NULL,"
    "  mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, rdev INTEGER NOT NULL,"
    "  size INTEGER NOT NULL, mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, xattr_set INTEGER NOT "
    "NULL,"
    "  since_ms INTEGER NOT NULL);"
    "CREATE INDEX base_nodes_by_age ON base_nodes(since_ms, node);"
    "CREATE TABLE base_names("
    "  parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL, since_ms INTEGER NOT NULL,"
    "  PRIMARY KEY(parent, name)) WITHOUT ROWID;"
    "CREATE INDEX base_names_of_node ON base_names(node) WHERE node<>0;"
    "CREATE INDEX base_names_by_age ON base_names(since_ms);"
    "CREATE TABLE layers("
    "  node INTEGER NOT NULL, layer INTEGER NOT NULL, block_file INTEGER NOT NULL,"
    "  size INTEGER NOT NULL, base_limit INTEGER NOT NULL, digest_name BLOB, digest BLOB,"
    "  PRIMARY KEY(node, layer)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX layer_files ON layers(block_file) WHERE block_file<>0;"
    "CREATE TABLE layer_extents("
    "  block_file INTEGER NOT NULL, begins INTEGER NOT NULL, ends INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    "  PRIMARY KEY(block_file, begins)) WITHOUT ROWID;"
    "CREATE TABLE former_names(node INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL);"
    "CREATE TABLE conflicts("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  at_s INTEGER NOT NULL, path BLOB NOT NULL, copy_path BLOB NOT NULL, what BLOB NOT NULL);"
    "ALTER TABLE totals ADD COLUMN pending_names INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE totals ADD COLUMN pending_nodes INTEGER NOT NULL DEFAULT 0;";

// From format 3 to format 4: which contents were used last, and what is to stay here.
constexpr const char* kCacheSpace =
    "ALTER TABLE contents ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX contents_by_use ON contents(used);"
    "CREATE TABLE pins(ino INTEGER PRIMARY KEY);"
    // The number of most nodes is their inode number, too.
    "CREATE INDEX later_versions ON nodes(ino) WHERE ino<>id;";
// From format 3 to format 4: what newer versions of files can be made from.
constexpr const char* kBases =
    "CREATE TABLE bases(node INTEGER PRIMARY KEY, older INTEGER NOT NULL);"
    "CREATE INDEX bases_by_older ON bases(older);";

// From format 4 to format 5: what the disk does to bytes is noticed.
constexpr const char* kSums = "ALTER TABLE contents ADD COLUMN sums BLOB;";

constexpr Sql kCountTables{"SELECT count(*) FROM sqlite_schema WHERE type='table' AND name='meta'"};
constexpr Sql kCountAll{"SELECT count(*) FROM sqlite_schema"};
constexpr Sql kInsertRoot{
    "INSERT INTO nodes(id, ino, mode, uid, gid, nlink, rdev, size, mtime_s, mtime_ns, xattr_set,"
    " listed_at_s, orphan) VALUES(1, 1, ?, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)"};
constexpr Sql kReadSetting{"SELECT value FROM meta WHERE key=?"};
constexpr Sql kWriteSetting{"INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)"};

Result<int64_t> count(Connection& db, const Sql& sql) {
  Query query(db, sql);
  auto row = query.step();
  if (!row) return row.error();
  return query.integer_at(0);
}

Result<void> create_tables(Connection& db) {
  if (auto done = db.execute(kTables); !done) return done;
  if (auto done = db.execute(kLocalChanges); !done) return done;
  if (auto done = db.execute(kCacheSpace); !done) return done;
  if (auto done = db.execute(kBases); !done) return done;
  if (auto done = db.execute(kSums); !done) return done;
  Query root(db, kInsertRoot);
  root.integer(S_IFDIR | 0755);
  if (auto done = root.run(); !done) return done;
  if (auto done = write_number(db, "schema", kSchemaVersion); !done) return done;
  return db.execute("COMMIT");
}

// Format 3 has the tables of format 2, and the journal beside them.
Result<void> upgrade_tables(Connection& db, uint64_t from) {
  if (auto done = db.execute("BEGIN IMMEDIATE"); !done) return done;
  if (from < 2) {
    if (auto done = db.execute(kLocalChanges); !done) return done;
  }
  if (from < 4) {
    if (auto done = db.execute(kCacheSpace); !done) return done;
    if (auto done = db.execute(kBases); !done) return done;
  }
  if (auto done = db.execute(kSums); !done) return done;
  if (auto done = write_number(db, "schema", kSchemaVersion); !done) return done;
  return db.execute("COMMIT");
}

Result<void> whole(Connection& db, Result<void> done) {
  if (!done && db.in_transaction()) static_cast<void>(db.execute("ROLLBACK"));
  return done;
}

}  // namespace

Result<void> prepare_schema(Connection& db) {
  if (auto done = db.execute(kPragmas); !done) return done;
  auto tables = count(db, kCountTables);
  if (!tables) return tables.error();
  if (*tables == 0) {
    auto all = count(db, kCountAll);
    if (!all) return all.error();
    if (*all != 0) return Error(Errc::kCorrupt, "the database is not one of rsyncfs");
    return whole(db, create_tables(db));
  }
  auto version = read_number(db, "schema");
  if (!version) return version.error();
  if (!version->has_value()) return Error(Errc::kCorrupt, "the database does not say its version");
  if (**version > static_cast<uint64_t>(kSchemaVersion)) {
    return Error(Errc::kUnsupported, "the store has format " + std::to_string(**version) +
                                         ", made by a newer rsyncfs; this one reads up to format " +
                                         std::to_string(kSchemaVersion));
  }
  if (**version < static_cast<uint64_t>(kSchemaVersion)) return whole(db, upgrade_tables(db, **version));
  return {};
}

Result<std::optional<std::string>> read_setting(Connection& db, std::string_view key) {
  Query query(db, kReadSetting);
  query.blob(key);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<std::string>();
  return std::optional<std::string>(query.blob_at(0));
}

Result<void> write_setting(Connection& db, std::string_view key, std::string_view value) {
  Query query(db, kWriteSetting);
  query.blob(key).blob(value);
  return query.run();
}

Result<std::optional<uint64_t>> read_number(Connection& db, std::string_view key) {
  auto text = read_setting(db, key);
  if (!text) return text.error();
  if (!text->has_value()) return std::optional<uint64_t>();
  uint64_t value = 0;
  const std::string& digits = **text;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (code != std::errc() || end != digits.data() + digits.size()) {
    return Error(Errc::kCorrupt, "the store's setting " + std::string(key) + " is not a number");
  }
  return std::optional<uint64_t>(value);
}

Result<void> write_number(Connection& db, std::string_view key, uint64_t value) {
  const std::string digits = std::to_string(value);
  return write_setting(db, key, digits);
}

}  // namespace rsyncfs
