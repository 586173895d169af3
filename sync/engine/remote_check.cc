// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/remote_check.h"

#include <utility>

#include "io/base/log.h"
#include "sync/engine/listing.h"
#include "sync/engine/unreadable_places.h"

namespace rsyncfs {

RemoteCheck::RemoteCheck(const EngineContext& context, SessionPool& pool, std::vector<std::string> paths,
                         Done<std::vector<RemoteFinding>> done, std::function<void()> refused)
    : context_(context),
      pool_(pool),
      paths_(std::move(paths)),
      done_(std::move(done)),
      refused_(std::move(refused)) {
  open();
}

void RemoteCheck::open() {
  log_debug("looking at " + std::to_string(paths_.size()) + " places");
  SessionSpec spec;
  spec.paths = paths_;
  spec.demanded = true;
  spec.for_push = true;
  const auto session = pool_.open(std::move(spec), *this);
  if (session) {
    session_ = session.get();
  } else {
    answer(Error(Errc::kCanceled, "no session can be had now"));
  }
}

RemoteCheck::~RemoteCheck() {
  *alive_ = false;
  done_ = nullptr;
  if (session_ != nullptr) pool_.close(*session_, Error(Errc::kCanceled, "given up"));
}

void RemoteCheck::session_listed(RemoteSession& session) {
  const auto& features = pool_.features();
  Listing listing(session.list(), false, features.xattrs || features.acls);
  const UnreadablePlaces unreadable(session.list(), session.errors(), session.shown_root());
  std::vector<RemoteFinding> out;
  out.reserve(paths_.size());
  for (const std::string& path : paths_) {
    RemoteFinding& finding = out.emplace_back();
    ListedName listed;
    if (listing.describe(path, listed)) {
      finding.entry = KeptListedName::of(listed);
      finding.entry->hlink_group = 0;  // of that list
    } else {
      const size_t slash = path.rfind('/');
      finding.unknown = unreadable.doubt(slash == std::string::npos ? "" : path.substr(0, slash));
    }
  }
  RemoteSession* const over = std::exchange(session_, nullptr);
  answer(std::move(out));
  pool_.close(*over, Error(Errc::kCanceled, "answered"));
}

void RemoteCheck::session_ended(RemoteSession& /*session*/, const Error& why) {
  if (session_ == nullptr) return;
  session_ = nullptr;
  const bool refused = why.code() == Errc::kRefused || why.code() == Errc::kCanceled;
  if (refused && refused_) refused_();
  if (refused && ++refusals_ <= kMaxRefusals) {
    context_.loop.run_after(kRefusalPause * refusals_, [this, alive = alive_] {
      if (*alive) open();
    });
    return;
  }
  // Without --delete-missing-args a list of nothing but missing names is an error.
  if (why.code() == Errc::kNotFound && !pool_.features().report_missing) {
    answer(std::vector<RemoteFinding>(paths_.size()));
  } else {
    answer(why);
  }
}

void RemoteCheck::answer(Result<std::vector<RemoteFinding>> result) {
  log_debug(result ? "looked" : "looked in vain");
  context_.loop.post([this, alive = alive_, result = std::move(result)]() mutable {
    if (!*alive || !done_) return;
    Done<std::vector<RemoteFinding>> done = std::exchange(done_, nullptr);
    done(std::move(result));
  });
}

}  // namespace rsyncfs
