// SPDX-License-Identifier: GPL-3.0-or-later
// One SQLite connection, its prepared statements, and the running of one of them. The only place that calls
// sqlite3_*.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace rsyncfs {

// A statement's text with static lifetime; its address is the key of the statement cache.
struct Sql {
  const char* text;
};

// Used by one thread at a time.
class Connection {
 public:
  enum class Mode : uint8_t { kRead, kWrite };
  // The database file is locked for this process, which may open it any number of times.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Mode mode, size_t cache_bytes);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Statements without parameters or results; several, separated by ';'.
  Result<void> execute(const char* sql);
  Result<sqlite3_stmt*> prepare(const Sql& sql);
  int64_t last_insert_id() const;
  // Rows that the last INSERT, UPDATE or DELETE touched.
  int64_t changes() const;
  bool in_transaction() const;
  // The last failure of this connection: kCorrupt for a damaged file, otherwise kOs with the errno that fits
  // best.
  Error error(std::string_view what) const;
  // `hook` hears the number of pages in the log after each commit, on the committing thread.
  void on_commit(void (*hook)(void* context, int log_pages), void* context);
  // Moves the log into the database without waiting for anybody; returns the pages that remain.
  Result<int> checkpoint();

 private:
  explicit Connection(sqlite3* db) : db_(db) {}

  sqlite3* db_;
  std::unordered_map<const Sql*, sqlite3_stmt*> statements_;
  void (*hook_)(void*, int) = nullptr;
  void* hook_context_ = nullptr;
};

// One execution of a prepared statement. Texts bound must live until it ends; texts read live until the next
// step().
class Query {
 public:
  Query(Connection& db, const Sql& sql);
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query();

  // Parameters are bound in the order of the calls.
  Query& integer(int64_t value);
  Query& unsigned_integer(uint64_t value) { return integer(static_cast<int64_t>(value)); }
  Query& blob(std::string_view value);
  Query& null();

  // True: a row is there.
  Result<bool> step();
  // For statements that give no rows.
  Result<void> run();
  // Ready for other parameters.
  void reset();

  int64_t integer_at(int column) const;
  uint64_t unsigned_at(int column) const { return static_cast<uint64_t>(integer_at(column)); }
  std::string_view blob_at(int column) const;
  bool is_null(int column) const;

 private:
  Connection& db_;
  const Sql& sql_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
  bool failed_ = false;
};

}  // namespace rsyncfs
