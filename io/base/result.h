// SPDX-License-Identifier: GPL-3.0-or-later
// Expected failures are values: Result<T> holds a T or an Error. Programmer errors abort (RSYNCFS_CHECK).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace rsyncfs {

// What went wrong, in the terms of this project. fs/fuse/errno_map.h turns it into an errno, once, at the
// FUSE edge.
enum class Errc : uint8_t {
  kOs,            // a system call failed: Error::os_errno() says how
  kUsage,         // the user asked for something that does not exist or does not fit
  kProtocol,      // the peer broke the rsync protocol
  kCorrupt,       // a digest or a stored record does not match its data
  kAuth,          // user, password or key refused
  kNotFound,      // no such module, path or name on the source
  kNotDirectory,  // the path exists and is not a directory
  kPermission,    // the source refuses to read it
  kRefused,       // the server refuses an option or the service (max connections, hosts deny)
  kUnreachable,   // no connection can be made
  kTimedOut,      // connected, but no progress within the limit
  kDisconnected,  // the connection ended early
  kChanged,       // the remote file is no longer the version asked for
  kVanished,      // the remote file is gone
  kLimit,         // a named limit of ours was reached
  kUnsupported,   // neither side can do it
  kCanceled,      // interrupted by the caller, or by shutdown
};

// Short stable name, e.g. "timed out"; used in logs and status.
std::string_view errc_name(Errc code);

// A failure: its kind, the errno if the OS gave one, and one line for people that names the cause.
class Error {
 public:
  Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}
  // "WHAT: strerror(err)", kind kOs.
  static Error os(int err, std::string_view what);

  Errc code() const { return code_; }
  int os_errno() const { return errno_; }  // 0 unless the OS (ours or the remote's, by message) named one
  const std::string& message() const { return message_; }
  // The same error, its message preceded by "CONTEXT: ".
  Error with_context(std::string_view context) const;
  Error with_errno(int err) const;

 private:
  Errc code_;
  int errno_ = 0;
  std::string message_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Calling value() on a failure, or error() on a success, is a programmer error and aborts.
  T& value() & { return *check(std::get_if<0>(&state_)); }
  const T& value() const& { return *check(std::get_if<0>(&state_)); }
  T&& value() && { return std::move(*check(std::get_if<0>(&state_))); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return *check(std::get_if<1>(&state_)); }

 private:
  template <class P>
  static P* check(P* p) {
    if (p == nullptr) __builtin_trap();
    return p;
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    if (!error_) __builtin_trap();
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

// Prints "FILE:LINE: check failed: WHAT" and aborts, in every build.
[[noreturn]] void check_failed(const char* file, int line, const char* what);

}  // namespace rsyncfs

#define RSYNCFS_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::rsyncfs::check_failed(__FILE__, __LINE__, #condition))
