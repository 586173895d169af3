// SPDX-License-Identifier: GPL-3.0-or-later
// Frames cut anywhere: the same data and messages come out, or the same error.
#include <algorithm>
#include <string>

#include "sync/rsync/mux.h"

namespace {

struct Transcript : rsyncfs::MuxHandler {
  rsyncfs::Result<void> on_mux_data(std::span<const std::byte> bytes) override {
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  rsyncfs::Result<void> on_mux_message(rsyncfs::MuxTag tag, std::span<const std::byte> payload) override {
    messages += std::to_string(static_cast<int>(tag)) + ":";
    messages.append(reinterpret_cast<const char*>(payload.data()), payload.size());
    return {};
  }
  std::string data;
  std::string messages;
  std::string error;
};

Transcript read(std::span<const std::byte> bytes, size_t piece) {
  Transcript out;
  rsyncfs::MuxReader reader(1000, 100'000);
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    if (auto fed = reader.feed(part, out); !fed.ok()) {
      out.error = fed.error().message();
      break;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const Transcript whole = read(bytes, size + 1);
  const Transcript cut = read(bytes, 1);
  RSYNCFS_CHECK(whole.data == cut.data && whole.messages == cut.messages && whole.error == cut.error);
  return 0;
}
