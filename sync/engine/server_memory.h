// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of a source's server from one mount to the next, kept in its store: so the first session of a
// mount neither waits for what the server is going to say nor asks for what it refuses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "sync/engine/session_settings.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// A refusal is believed for so long: what an administrator allows again, or a younger rsync knows, is found
// then.
constexpr int64_t kRefusalsHoldS = 24 * 60 * 60;

// One line of text. `since_s`: Unix time of the first of the refusals.
std::string server_to_text(const ServerFeatures& features, int64_t since_s);
// What the text says as of `now_s`; nothing special where it is not understood.
ServerFeatures server_from_text(std::string_view text, int64_t now_s);

// Any thread.
ServerFeatures recall_server(const Replica& replica);

// Loop thread, but for the writing.
class ServerMemory {
 public:
  explicit ServerMemory(const ServerFeatures& stored) : stored_(stored) {}
  const ServerFeatures& stored() const { return stored_; }
  // What is to be written by remember(), on a thread that may write to the store; empty: it is there already,
  // or no session of this mount has proved it.
  std::string news(const ServerFeatures& features);
  static Result<void> remember(Replica& replica, const std::string& text);

 private:
  ServerFeatures stored_;
};

}  // namespace rsyncfs
