// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/database.h"

#include <cerrno>
#include <mutex>

#include <sqlite3.h>

namespace rsyncfs {
namespace {

constexpr int kBusyTimeoutMs = 5000;

void configure_library_once() {
  static std::once_flag once;
  // Memory statistics cost a process-wide mutex in every allocation.
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

int errno_of(int code, int system_errno) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return ENOSPC;
    case SQLITE_NOMEM:
      return ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return EBUSY;
    case SQLITE_READONLY:
      return EROFS;
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return EACCES;
    case SQLITE_TOOBIG:
      return EFBIG;
    default:
      return system_errno != 0 ? system_errno : EIO;
  }
}

Error error_of(sqlite3* db, std::string_view what) {
  const int code = db == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(db);
  const std::string text =
      std::string(what) + ": " + (db == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db));
  const int primary = code & 0xff;
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_FORMAT ||
      primary == SQLITE_ERROR || code == SQLITE_IOERR_SHORT_READ) {
    return Error(Errc::kCorrupt, "the store's database is damaged: " + text);
  }
  return Error(Errc::kOs, "the store's database: " + text)
      .with_errno(errno_of(code, db == nullptr ? 0 : sqlite3_system_errno(db)));
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Mode mode, size_t cache_bytes) {
  configure_library_once();
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | (mode == Mode::kWrite ? SQLITE_OPEN_CREATE : 0) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  // "unix-excl" keeps the index of the log in our memory: no lock system calls per read, no map of a shared
  // file.
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, "unix-excl");
  if (code != SQLITE_OK) {
    const Error failure = error_of(raw, "opening " + path);
    sqlite3_close_v2(raw);
    return failure;
  }
  std::unique_ptr<Connection> db(new Connection(raw));
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  const std::string common =
      "PRAGMA mmap_size=0; PRAGMA cell_size_check=1; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-" +
      std::to_string(cache_bytes / 1024) + ";";
  if (auto done = db->execute(common.c_str()); !done) return done.error();
  if (mode == Mode::kRead) {
    if (auto done = db->execute("PRAGMA query_only=1;"); !done) return done.error();
  }
  return db;
}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

Result<void> Connection::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error(sql);
  return {};
}

Result<sqlite3_stmt*> Connection::prepare(const Sql& sql) {
  sqlite3_stmt*& statement = statements_[&sql];
  if (statement == nullptr &&
      sqlite3_prepare_v3(db_, sql.text, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
    return error(sql.text);
  }
  return statement;
}

int64_t Connection::last_insert_id() const {
  return sqlite3_last_insert_rowid(db_);
}

int64_t Connection::changes() const {
  return sqlite3_changes64(db_);
}

bool Connection::in_transaction() const {
  return sqlite3_get_autocommit(db_) == 0;
}

Error Connection::error(std::string_view what) const {
  return error_of(db_, what);
}

void Connection::on_commit(void (*hook)(void*, int), void* context) {
  hook_ = hook;
  hook_context_ = context;
  sqlite3_wal_hook(
      db_,
      [](void* self, sqlite3*, const char*, int pages) {
        auto* connection = static_cast<Connection*>(self);
        connection->hook_(connection->hook_context_, pages);
        return SQLITE_OK;
      },
      this);
}

Result<int> Connection::checkpoint() {
  int log_pages = 0;
  int moved_pages = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, &log_pages, &moved_pages);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) return error("checkpoint");
  return log_pages - moved_pages;
}

Query::Query(Connection& db, const Sql& sql) : db_(db), sql_(sql) {
  auto prepared = db.prepare(sql);
  if (prepared) {
    statement_ = *prepared;
    RSYNCFS_CHECK(sqlite3_stmt_busy(statement_) == 0);
  }
}

Query::~Query() {
  if (statement_ != nullptr) sqlite3_reset(statement_);
}

void Query::reset() {
  if (statement_ != nullptr) sqlite3_reset(statement_);
  bound_ = 0;
}

Query& Query::integer(int64_t value) {
  if (statement_ != nullptr && sqlite3_bind_int64(statement_, ++bound_, value) != SQLITE_OK) failed_ = true;
  return *this;
}

Query& Query::blob(std::string_view value) {
  // A null pointer would bind NULL, not the empty text.
  const char* data = value.data() == nullptr ? "" : value.data();
  if (statement_ != nullptr &&
      sqlite3_bind_blob64(statement_, ++bound_, data, value.size(), SQLITE_STATIC) != SQLITE_OK) {
    failed_ = true;
  }
  return *this;
}

Query& Query::null() {
  if (statement_ != nullptr && sqlite3_bind_null(statement_, ++bound_) != SQLITE_OK) failed_ = true;
  return *this;
}

Result<bool> Query::step() {
  if (statement_ == nullptr || failed_) return db_.error(sql_.text);
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return db_.error(sql_.text);
  }
}

Result<void> Query::run() {
  auto row = step();
  if (!row) return row.error();
  return {};
}

int64_t Query::integer_at(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Query::blob_at(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

bool Query::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

}  // namespace rsyncfs
