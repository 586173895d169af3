// SPDX-License-Identifier: GPL-3.0-or-later
// The one batch that is under way, as text: kept in the store, so that after a crash, or a broken connection,
// what it has done is known before anything else is planned. Users may have undone it here by then.
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

// Whether what it has done at the source could be taken for somebody else's work.
bool leaves_traces(const PushBatch& batch);

std::string encode_batch(const PushBatch& batch);
// Paths are looked up in base as it is now. nullopt: empty or damaged, or its directories are gone.
std::optional<PushBatch> decode_batch(std::string_view text, const PendingChanges& pending);

}  // namespace rsyncfs
