// SPDX-License-Identifier: GPL-3.0-or-later
// Parts of the documents that more than one place writes: transfers, lines of text, and what is being pushed.
#pragma once

#include <string>
#include <vector>

#include "fs/control/json_fields.h"
#include "sync/engine/status.h"

namespace rsyncfs {

Json transfers_json(const std::vector<TransferStatus>& transfers);
std::vector<TransferStatus> read_transfers(const Json& json);
// Lines with raw bytes in them, as paths are written.
Json texts_json(const std::vector<std::string>& texts);
std::vector<std::string> read_texts(const Json& json);

Json push_json(const PushStatus& push);
PushStatus read_push(const Json& json);

}  // namespace rsyncfs
