// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/last_words.h"

#include <utility>

#include "sync/rsync/server_text.h"

namespace rsyncfs {

void LastWords::error(std::string_view text, bool about_itself) {
  if (is_exit_summary(text)) return;
  error_ = reason_ = text;
  if (about_itself) fatal_ = text;
}

Error LastWords::declined() {
  return file_error(std::exchange(reason_, {}));
}

Error LastWords::nothing_listed() const {
  if (error_.empty()) return Error(Errc::kNotFound, "the server listed nothing, not even a root");
  return session_error(error_, Errc::kNotFound);
}

Error LastWords::exited(int code) const {
  const Errc kind = exit_code_kind(code);
  // A server that cannot enter what it was asked for complains as of a file, but ends for it.
  constexpr int kFileSelection = 3;  // errcode.h RERR_FILESELECT
  constexpr int kFileIo = 11;        // RERR_FILEIO
  const bool over_file = code == kFileSelection || (code == kFileIo && writes_);
  const std::string& words = fatal_.empty() && over_file ? error_ : fatal_;
  if (words.empty()) return Error(kind, "the server gave up: rsync exit code " + std::to_string(code));
  // Such an end says nothing about the source, whatever error number its text has.
  if (is_connection_exit(code)) return Error(kind, shown_text(words));
  return session_error(words, kind);
}

Error LastWords::stopped(const Error& plainly) const {
  if (!fatal_.empty()) return session_error(fatal_, Errc::kDisconnected);
  // At most a hint.
  if (!reason_.empty()) return Error(Errc::kDisconnected, plainly.message() + ": " + shown_text(reason_));
  return plainly;
}

Error LastWords::closed() const {
  if (!fatal_.empty()) return session_error(fatal_, Errc::kDisconnected);
  return Error(Errc::kDisconnected, "the server closed the connection too early");
}

}  // namespace rsyncfs
