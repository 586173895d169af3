// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/remote_names.h"

#include <utility>

#include "sync/engine/listing.h"

namespace rsyncfs {

RemoteNames::RemoteNames(const EngineContext& context, SessionPool& pool, std::string path,
                         Done<std::vector<KeptListedName>> done)
    : context_(context), pool_(pool), path_(std::move(path)), done_(std::move(done)) {
  open();
}

void RemoteNames::open() {
  SessionSpec spec;
  spec.paths = {path_ + "/"};
  if (path_.empty()) spec.paths = {"./"};
  spec.demanded = true;
  spec.for_push = true;
  const auto session = pool_.open(std::move(spec), *this);
  session_ = session.get();
  if (!session) answer(Error(Errc::kCanceled, "no session can be had now"));
}

RemoteNames::~RemoteNames() {
  *alive_ = false;
  if (session_ != nullptr) pool_.close(*std::exchange(session_, nullptr), Error(Errc::kCanceled, "given up"));
}

void RemoteNames::session_listed(RemoteSession& session) {
  Listing listing(session.list(), false, false);
  std::vector<KeptListedName> out;
  for (const ListedName& name : listing.names(path_)) {
    if (out.size() < kMaxRemoteNames) out.push_back(KeptListedName::of(name));
  }
  session_ = nullptr;
  answer(std::move(out));
  pool_.close(session, Error(Errc::kCanceled, "answered"));
}

void RemoteNames::session_ended(RemoteSession& /*session*/, const Error& why) {
  if (session_ == nullptr) return;
  session_ = nullptr;
  const bool refused = why.code() == Errc::kRefused || why.code() == Errc::kCanceled;
  if (!refused || ++refusals_ > kMaxRefusals) return answer(why);
  context_.loop.run_after(kRefusalPause * refusals_, [this, alive = alive_] {
    if (*alive) open();
  });
}

void RemoteNames::answer(Result<std::vector<KeptListedName>> names) {
  context_.loop.post([this, alive = alive_, names = std::move(names)]() mutable {
    if (!*alive || !done_) return;
    auto done = std::exchange(done_, nullptr);
    done(std::move(names));
  });
}

}  // namespace rsyncfs
