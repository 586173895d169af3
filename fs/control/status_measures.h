// SPDX-License-Identifier: GPL-3.0-or-later
// The part of the status document that is counted by purpose, cause or time (fs/control/STATUS_JSON.md).
#pragma once

#include "fs/control/json_fields.h"
#include "fs/control/status_document.h"

namespace rsyncfs {

void add_measures(Json& json, const MountStatus& status);
void read_measures(const Json& json, MountStatus& status);

}  // namespace rsyncfs
