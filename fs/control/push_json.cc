// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/push_json.h"

#include <utility>

#include "fs/control/byte_text.h"

namespace rsyncfs {

Json transfers_json(const std::vector<TransferStatus>& transfers) {
  Json json = Json::array();
  for (const TransferStatus& transfer : transfers) {
    json.push_back({{"path", bytes_to_text(transfer.path)},
                    {"done_bytes", transfer.done_bytes},
                    {"total_bytes", transfer.total_bytes}});
  }
  return json;
}

Json texts_json(const std::vector<std::string>& texts) {
  Json json = Json::array();
  for (const std::string& text : texts) json.push_back(bytes_to_text(text));
  return json;
}

std::vector<TransferStatus> read_transfers(const Json& json) {
  std::vector<TransferStatus> transfers;
  for (const Json& item : json) {
    if (!item.is_object()) continue;
    TransferStatus transfer;
    transfer.path = shown_field(item, "path");
    transfer.done_bytes = number_field(item, "done_bytes");
    transfer.total_bytes = number_field(item, "total_bytes");
    transfers.push_back(std::move(transfer));
  }
  return transfers;
}

std::vector<std::string> read_texts(const Json& json) {
  std::vector<std::string> texts;
  for (const Json& item : json) {
    if (!item.is_string()) continue;
    Result<std::string> text = text_to_bytes(item.get_ref<const std::string&>());
    texts.push_back(text ? std::move(text.value()) : item.get<std::string>());
  }
  return texts;
}

Json push_json(const PushStatus& push) {
  return {{"pending_names", push.pending_names},
          {"pending_nodes", push.pending_nodes},
          {"pending_bytes", push.pending_bytes},
          {"local_only", push.local_only},
          {"oldest_at", push.oldest_s},
          {"pushed_files", push.pushed_files},
          {"pushed_bytes", push.pushed_bytes},
          {"bytes_saved", push.bytes_saved},
          {"deletes", push.deletes},
          {"moves", push.moves},
          {"sending", transfers_json(push.sending)},
          {"failing", texts_json(push.failing)},
          {"stopped", bytes_to_text(push.stopped)},
          {"conflicts", push.conflicts}};
}

PushStatus read_push(const Json& json) {
  PushStatus push;
  push.pending_names = number_field(json, "pending_names");
  push.pending_nodes = number_field(json, "pending_nodes");
  push.pending_bytes = number_field(json, "pending_bytes");
  push.local_only = number_field(json, "local_only");
  push.oldest_s = signed_field(json, "oldest_at");
  push.pushed_files = number_field(json, "pushed_files");
  push.pushed_bytes = number_field(json, "pushed_bytes");
  push.bytes_saved = number_field(json, "bytes_saved");
  push.deletes = number_field(json, "deletes");
  push.moves = number_field(json, "moves");
  push.sending = read_transfers(array_field(json, "sending"));
  push.failing = read_texts(array_field(json, "failing"));
  push.stopped = shown_field(json, "stopped");
  push.conflicts = number_field(json, "conflicts");
  return push;
}

}  // namespace rsyncfs
