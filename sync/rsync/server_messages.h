// SPDX-License-Identifier: GPL-3.0-or-later
// The messages of a server that mean the same to either role: texts, its timeout, its exit.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "io/base/result.h"
#include "sync/rsync/last_words.h"
#include "sync/rsync/mux.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

class ServerMessages {
 public:
  explicit ServerMessages(LastWords words, std::function<void(MessageKind, std::string_view)> on_text)
      : words_(std::move(words)), on_text_(std::move(on_text)) {}

  // True if that was one of them. An exit, and what has the wrong size, is an error.
  Result<bool> take(MuxTag tag, std::span<const std::byte> payload);
  // The one number that a message holds; kProtocol for another size.
  static Result<uint32_t> number(std::span<const std::byte> payload);

  // A receiver before protocol 31 has no MSG_ERROR_EXIT: it says in words that it is done for, and then
  // waits.
  void expect_exit_in_words() { exit_in_words_ = true; }

  LastWords& words() { return words_; }
  const LastWords& words() const { return words_; }
  // Exit code of a MSG_ERROR_EXIT, once take() has failed over it.
  std::optional<int> exit_code() const { return exit_code_; }
  int io_timeout_s() const { return io_timeout_s_; }  // 0 = none

 private:
  LastWords words_;
  std::function<void(MessageKind, std::string_view)> on_text_;
  Result<bool> take_error(std::string_view text, bool about_itself);

  std::optional<int> exit_code_;
  bool exit_in_words_ = false;
  int io_timeout_s_ = 0;
};

}  // namespace rsyncfs
