// SPDX-License-Identifier: GPL-3.0-or-later
// Whatever comes over the control socket, in either direction, is refused or understood; what was understood
// is written and read again as the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fs/control/byte_text.h"
#include "fs/control/conflict_document.h"
#include "fs/control/http_head.h"
#include "fs/control/info_document.h"
#include "fs/control/mount_table.h"
#include "fs/control/protocol.h"
#include "fs/control/status_document.h"

namespace rsyncfs {
namespace {

void try_request(std::string_view line) {
  const Result<ControlRequest> request = decode_control_request(line);
  if (!request) return;
  const Result<ControlRequest> again = decode_control_request(encode(*request));
  RSYNCFS_CHECK(again.ok() && *again == *request);
}

void try_answer(std::string_view line) {
  const Result<ControlAnswer> answer = decode_control_answer(line);
  if (!answer) return;
  const Result<ControlAnswer> again = decode_control_answer(encode(*answer));
  RSYNCFS_CHECK(again.ok() && *again == *answer);
}

void try_http(std::string_view head) {
  const HttpRequest request = parse_http_request(head);
  const std::string answer =
      http_answer(request.refusal == 0 ? 200 : request.refusal, "text/plain", head, request.head_only);
  RSYNCFS_CHECK(answer.starts_with("HTTP/1.1 ") && answer.find("\r\n\r\n") != std::string::npos);
}

void try_documents(std::string_view text) {
  if (const Result<MountStatus> status = parse_status(text)) {
    const Result<MountStatus> again = parse_status(status_json(*status));
    RSYNCFS_CHECK(again.ok() && status_text(*again) == status_text(*status));
    RSYNCFS_CHECK(metrics_text(*again, 0) == metrics_text(*status, 0));
  }
  if (const Result<PathInfo> info = parse_info(text)) {
    const Result<PathInfo> again = parse_info(info_json(*info));
    RSYNCFS_CHECK(again.ok() && info_text(*again) == info_text(*info));
  }
  if (const Result<ConflictList> list = parse_conflicts(text)) {
    const Result<ConflictList> again = parse_conflicts(conflicts_json(*list));
    RSYNCFS_CHECK(again.ok() && conflicts_text(*again, "/m") == conflicts_text(*list, "/m"));
  }
}

void try_bytes(std::string_view bytes) {
  const Result<std::string> back = text_to_bytes(bytes_to_text(bytes));
  RSYNCFS_CHECK(back.ok() && *back == bytes);
  static_cast<void>(text_to_bytes(bytes));
  static_cast<void>(parse_mount_table(bytes));
}

}  // namespace
}  // namespace rsyncfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(static_cast<const char*>(static_cast<const void*>(data)), size);
  rsyncfs::try_request(bytes);
  rsyncfs::try_answer(bytes);
  rsyncfs::try_documents(bytes);
  rsyncfs::try_http(bytes);
  rsyncfs::try_bytes(bytes);
  return 0;
}
