// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/daemon_call.h"

#include <utility>

namespace rsyncfs {

Result<std::string> ask_document(const FoundMount& mount, const ControlRequest& request,
                                 int answer_limit_ms) {
  Result<ControlClient> client = ControlClient::connect(mount, kConnectLimitMs);
  if (!client) return client.error();
  Result<ControlAnswer> answer = client->call(request, answer_limit_ms);
  if (!answer) return answer.error();
  if (answer->kind == ControlAnswer::Kind::kDone) return std::move(answer->document);
  return Error(answer->failure == ControlFailure::kNotFound ? Errc::kNotFound : Errc::kRefused,
               answer->reason);
}

}  // namespace rsyncfs
