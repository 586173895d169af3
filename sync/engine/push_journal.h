// SPDX-License-Identifier: GPL-3.0-or-later
// The one batch that takes several sessions, as text: kept in the store while it is under way, so that it is
// finished before anything else after a crash.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sync/engine/push_plan.h"

namespace rsyncfs {

// Where it is kept: Replica::set_meta(). "" = none.
constexpr std::string_view kUnfinishedMeta = "push_unfinished";

// Whether what is left halfway by this batch must be finished before the next plan.
bool takes_several_sessions(const PushBatch& batch);

std::string encode_batch(const PushBatch& batch);
// Paths are looked up in base as it is now. nullopt: empty or damaged, or its directories are gone.
std::optional<PushBatch> decode_batch(std::string_view text, const PendingChanges& pending);

}  // namespace rsyncfs
