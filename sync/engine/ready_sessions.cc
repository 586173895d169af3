// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/ready_sessions.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {

// One is used in each round trip, and a new one needs about two.
constexpr size_t kReady = 3;
constexpr std::chrono::seconds kReadyFor{5};
constexpr size_t kLeftToOthers = 1;  // sessions, of those to spare
constexpr std::chrono::seconds kPauseAfterRefusal{2};

}  // namespace

ReadySessions::~ReadySessions() {
  close();
}

void ReadySessions::keep(const FileTarget& target, Clock::time_point now) {
  if (now - refused_at_ < kPauseAfterRefusal) return;
  // Nobody gives way to what may not be needed, these themselves least of all.
  while (sessions_.size() < kReady && pool_.to_spare() > kLeftToOthers) {
    SessionSpec spec;
    spec.purpose = SessionSpec::Purpose::kStream;
    spec.paths.push_back(target.path);
    spec.append = true;
    spec.narrow = true;
    auto session = pool_.open(std::move(spec), *this);
    if (!session) {
      refused_at_ = now;
      return;
    }
    sessions_.push_back(std::move(session));
  }
}

ReadySessions::Taken ReadySessions::take(const FileTarget& target, SessionUser& user) {
  auto best = sessions_.end();
  Taken taken;
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    if (!(*it)->armed()) {
      if (best == sessions_.end()) best = it;  // the oldest
      continue;
    }
    const auto ndx = (*it)->list().find(target.path);
    if (!ndx || !target.matches((*it)->list().entry(*ndx))) continue;
    best = it;
    taken.ndx = *ndx;
    break;
  }
  if (best == sessions_.end()) return taken;
  taken.session = std::move(*best);
  sessions_.erase(best);
  taken.session->set_user(user);
  taken.session->attribute(WirePurpose::kRead);
  return taken;
}

bool ReadySessions::any() const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [](const auto& session) { return session->armed(); });
}

void ReadySessions::expire(Clock::time_point now) {
  std::vector<std::shared_ptr<RemoteSession>> old;
  for (const auto& session : sessions_) {
    if (now - session->opened_at() > kReadyFor) old.push_back(session);
  }
  for (const auto& session : old) session->fail(Error(Errc::kCanceled, "nobody needed it"));
}

void ReadySessions::close() {
  for (const auto& session : std::exchange(sessions_, {}))
    session->fail(Error(Errc::kCanceled, "nobody reads here and there any more"));
}

void ReadySessions::session_ended(RemoteSession& session, const Error& why) {
  std::erase_if(sessions_, [&](const auto& other) { return other.get() == &session; });
  if (why.code() != Errc::kCanceled) refused_at_ = Clock::now();
}

}  // namespace rsyncfs
