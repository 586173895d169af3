// SPDX-License-Identifier: GPL-3.0-or-later
// What a server complained of, and what that says of the session's end. A complaint about one file is not why
// a session ends.
#pragma once

#include <string>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

class LastWords {
 public:
  // `writes`: the server is one that writes files. It ends when it cannot go on writing one.
  explicit LastWords(bool writes = false) : writes_(writes) {}

  // `about_itself`: MSG_ERROR and MSG_ERROR_SOCKET, after which a server ends; else a file's error or
  // warning.
  void error(std::string_view text, bool about_itself);
  void warning(std::string_view text) { reason_ = text; }
  // The list has come, and is not empty: what was said until now is settled.
  void listed() { *this = LastWords(writes_); }
  bool any_error() const { return !error_.empty(); }
  // Why a file was declined; used up.
  Error declined();

  // Why it ended: after an empty list, which the sender leaves at once after; by its exit code; by stopping
  // as if asked to; by closing the connection. kDisconnected where there is no better word.
  Error nothing_listed() const;
  Error exited(int code) const;
  Error stopped(const Error& plainly) const;
  Error closed() const;

 private:
  bool writes_;
  std::string fatal_;   // the last words about itself
  std::string error_;   // the last error
  std::string reason_;  // the last words since a file was declined
};

}  // namespace rsyncfs
