// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_data_job.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/push_replace_job.h"
#include "sync/engine/push_review_job.h"
#include "sync/replica/conflict_name.h"

namespace rsyncfs {

namespace {

// What is appended to in place is not put aside first. Where a delta costs little it is safer.
constexpr uint64_t kMinAppendBase = uint64_t{8} << 20;
// Of a file of this size it costs to name each block that stays; compressed tokens name all in a row at once.
constexpr uint64_t kMinRunBase = 1 << 20;
// New files go along with changed ones up to here; the places of more are not worth being looked at.
constexpr size_t kMaxNewAmongChanged = 64;
constexpr size_t kMaxShares = 3;
constexpr size_t kMinShare = 16;  // files that are worth a session

FileVersion version_of(const NodeAttributes& attr) {
  return {attr.size, attr.mtime_s, attr.mtime_ns};
}

bool only_grew(const PushSnapshot& snapshot) {
  const uint64_t before = snapshot.base().attr.size;
  if (snapshot.base().foreign || before < kMinAppendBase || snapshot.node().attr.size <= before) return false;
  if (snapshot.base_limit() < before) return false;
  const auto unchanged = snapshot.changed().missing(0, before);
  return unchanged.size() == 1 && unchanged.front() == ExtentSet::Range{0, before};
}

}  // namespace

PushDataJob::PushDataJob(const Surroundings& around, PushBatch batch, SentVersions& sent, Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)), sent_(sent) {}

// Snapshots are let go where the store may be written.
PushDataJob::~PushDataJob() {
  context().store.post(
      [files = std::move(files_), successes = std::move(successes_), doubtful = std::move(doubtful_)] {});
}

void PushDataJob::start() {
  gather([this] {
    on_store<Files>(
        [&replica = context().replica, facts = facts(), sent = sent_,
         may_append = pool().features().append]() mutable {
          return open_snapshots(replica, std::move(facts), sent, may_append);
        },
        [this](Result<Files> files) { files ? take(std::move(*files)) : break_off(files.error()); });
  });
}

// What differs no more, or is being looked at by somebody else, waits for the next plan.
Result<PushDataJob::Files> PushDataJob::open_snapshots(const Replica& replica, std::vector<StepFacts> facts,
                                                       const SentVersions& sent, bool may_append) {
  Files out;
  std::vector<NodeId> nodes;
  for (const StepFacts& one : facts) nodes.push_back(one.step.node);
  auto& pending = const_cast<Replica&>(replica).pending();  // NOLINT: a snapshot is taken of what is there
  auto snapshots = pending.snapshots(nodes);
  for (size_t i = 0; i < facts.size(); ++i) {
    StepFacts& one = facts[i];
    auto& snapshot = snapshots[i];
    if (!snapshot) {
      const auto code = snapshot.error().code();
      if (code == Errc::kNotFound || code == Errc::kRefused) continue;
      return snapshot.error();
    }
    File& file = out.emplace_back();
    file.push.snapshot = *snapshot;
    file.facts = std::move(one);
    file.facts.local = (*snapshot)->node();
    file.facts.base = (*snapshot)->base();
    auto entry = make_push_entry(replica, file.facts.local, file.facts.step.path);
    if (!entry) return entry.error();
    file.push.entry = std::move(*entry);
    const bool sent_before = sent.has(file.facts.step.node);
    // Of a version that was sent, and never acknowledged, the bytes are not those that base has here.
    const bool base_is_sent = sent.is_of(file.facts.step.node, file.facts.base.attr);
    if (file.facts.step.occupant != 0 || file.facts.base.foreign ||
        (file.facts.base.present && base_is_sent)) {
      file.way = Way::kReplace;
      file.push.basis = PushBasis::kOther;
      // Of a version that was sent the bytes are not kept as those of the source.
      const auto& occupant = file.facts.occupant;
      if (occupant && !sent.is_of(file.facts.step.occupant, occupant->attr)) {
        const auto content = const_cast<Replica&>(replica).content(file.facts.step.occupant);  // NOLINT
        if (content && *content && (*content)->complete()) file.push.occupant = *content;
      }
    } else if (file.facts.base.present) {
      // What was sent before may have been appended in part.
      const bool append = may_append && !sent_before && only_grew(**snapshot);
      file.way = append ? Way::kAppend : Way::kReplace;
      file.push.basis = append ? PushBasis::kAppended : PushBasis::kOwn;
    } else if (may_be_conflict_name(file.facts.step.name)) {
      // Where others are at work, two mounts of one machine may choose the same name at once.
      file.way = Way::kReplace;
    }
  }
  return out;
}

void PushDataJob::take(Files files) {
  files_ = std::move(files);
  if (files_.empty()) return finish();
  join_new();
  fetch_missing();
}

// One session for new and changed files: then it cannot be told to leave alone what is there, so that places
// of new ones are looked at, too.
void PushDataJob::join_new() {
  const auto is_new = [](const File& file) { return file.way == Way::kNew; };
  const auto is_changed = [](const File& file) { return file.way == Way::kReplace; };
  const bool some_changed = std::any_of(files_.begin(), files_.end(), is_changed);
  const auto count = std::count_if(files_.begin(), files_.end(), is_new);
  if (!some_changed || count > static_cast<std::ptrdiff_t>(kMaxNewAmongChanged)) return;
  for (File& file : files_) {
    if (is_new(file)) file.way = Way::kReplace;
  }
}

// The digest is one of the whole file, so all of it must be here.
void PushDataJob::fetch_missing() {
  std::vector<size_t> missing;
  for (size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].way != Way::kAppend && !files_[i].push.snapshot->complete()) missing.push_back(i);
  }
  fetching_ = missing.size() + 1;
  const auto one_less = [this] {
    if (--fetching_ == 0) look_first();
  };
  for (const size_t i : missing) {
    around().hydrate(
        files_[i].facts.step.node, [this, i, one_less, alive = life()](const Result<void>& here) {
          if (!*alive) return;
          if (!here || !files_[i].push.snapshot->complete()) {
            files_[i].dropped = true;
            fail(files_[i].facts.step, here ? Error(Errc::kChanged, "its bytes are not here") : here.error());
          }
          one_less();
        });
  }
  one_less();
}

void PushDataJob::look_first() {
  std::vector<std::string> paths;
  for (const File& file : files_) {
    if (!file.dropped && file.way != Way::kNew) paths.push_back(file.facts.step.path);
  }
  if (paths.empty()) return remember();
  look_before(
      std::move(paths), [this](const Findings& found) { return all_as_expected(found); }, next_sessions(),
      [this](const Findings& found) { judge(found); });
}

// Of the first way that there is something for; as long as nothing that is looked at is in the way.
std::vector<PushJob::NextSession> PushDataJob::next_sessions() {
  std::vector<NextSession> out;
  for (Way way = Way::kNew; out.empty(); way = next_way(way)) {
    divide(way);
    keeps_ = way == Way::kReplace && keeps_replaced();
    if (!shares_.empty()) out.push_back({config_of(shares_.front(), way), shares_.size()});
    if (way == Way::kReplace) break;
  }
  shares_.clear();
  return out;
}

const std::optional<ExpectedEntry>& PushDataJob::expected_at(const File& file) {
  return file.facts.step.occupant != 0 ? file.facts.occupant : file.facts.at_source;
}

bool PushDataJob::all_as_expected(const Findings& found) const {
  size_t next = 0;
  return std::all_of(files_.begin(), files_.end(), [&](const File& file) {
    if (file.dropped || file.way == Way::kNew) return true;
    const RemoteFinding& at = found[next++];
    const auto& expected = expected_at(file);
    if (at.unknown || at.entry.has_value() != expected.has_value()) return false;
    return !at.entry || expected->matches(*at.entry);
  });
}

void PushDataJob::judge(const Findings& found) {
  size_t next = 0;
  for (File& file : files_) {
    if (file.dropped || file.way == Way::kNew) continue;
    const RemoteFinding& at = found[next++];
    const StepFacts& facts = file.facts;
    const auto& expected = expected_at(file);
    if (at.unknown) {
      file.dropped = true;
      fail(facts.step, *at.unknown);
    } else if (!at.entry && facts.step.occupant != 0) {
      file.way = Way::kNew;  // what was to be replaced is gone anyway
      file.push.basis = PushBasis::kNothing;
    } else {
      const bool is_base = at.entry && expected && expected->matches(*at.entry);
      const bool is_free = !at.entry && file.push.basis == PushBasis::kNothing;
      const bool is_sent = at.entry && sent_.may_be(facts.step.node, at.entry->attr);
      if (is_free || is_base || is_sent) continue;  // the blocks will tell
      file.dropped = true;
      collide(facts.step, at);
    }
  }
  remember();
}

// Before the first byte goes out: which versions the source may have from now on.
void PushDataJob::remember() {
  for (const File& file : files_) {
    if (file.dropped) continue;
    SentVersion sent{file.facts.local.version(), std::nullopt};
    if (file.way == Way::kAppend) sent.appended_to = file.facts.base.attr.size;
    sent_.put(file.facts.step.node, sent);
  }
  replaceable_ = sent_;
  for (const File& file : files_) {
    const auto& expected = expected_at(file);
    if (!file.dropped && expected && S_ISREG(expected->attr.mode))
      replaceable_.put(file.facts.step.node, {version_of(expected->attr), std::nullopt});
  }
  on_store<void>(
      [&replica = context().replica, sent = sent_.serialize(), replaceable = replaceable_.serialize()] {
        auto kept = replica.set_meta(kSentMeta, sent);
        return kept ? replica.set_meta(kReplaceableMeta, replaceable) : kept;
      },
      [this](const Result<void>& kept) { kept ? run(Way::kNew) : break_off(kept.error()); });
}

void PushDataJob::run(Way way) {
  divide(way);
  outcome().unfinished = false;
  if (shares_.empty()) {
    if (way != Way::kReplace) return run(next_way(way));
    return link_others();
  }
  keeps_ = way == Way::kReplace && keeps_replaced();
  if (!keeps_ || pool().features().deletes_seen) return start_shares(way);
  // What is put aside must be removed again.
  const std::string spare = spare_directory(batch());
  try_moving(spare.substr(0, spare.size() - batch().spare.size()), [this, way] { start_shares(way); });
}

void PushDataJob::start_shares(Way way) {
  outcome().unfinished = true;
  pool().reserve_for_push(keeps_);
  for (size_t i = 0; i < shares_.size(); ++i) start_share(i, way);
}

bool PushDataJob::keeps_replaced() const {
  return pool().features().keeps_replaced() && !spare_directory(batch()).empty() &&
         paths_can_be_kept(batch());
}

// A server has one file at a time written to its disk in each session, which is what many small ones wait
// for.
void PushDataJob::divide(Way way) {
  shares_.clear();
  std::vector<size_t> all;
  for (size_t i = 0; i < files_.size(); ++i) {
    if (!files_[i].dropped && files_[i].way == way) all.push_back(i);
  }
  const size_t most = context().options.max_sessions > 1 ? context().options.max_sessions - 1 : 1;
  const size_t count = std::clamp<size_t>(all.size() / kMinShare, 1, std::min(most, kMaxShares));
  for (size_t i = 0; i < count && !all.empty(); ++i) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(all.size() * i / count);
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(all.size() * (i + 1) / count);
    shares_.emplace_back().files.assign(begin, end);
  }
}

PushConfig PushDataJob::config_of(const Share& share, Way way) const {
  PushConfig config;
  config.kind = way == Way::kAppend ? PushKind::kAppend : PushKind::kData;
  config.only_missing = way == Way::kNew;
  if (way != Way::kReplace) return config;
  if (keeps_) config.backup_dir = spare_directory(batch());
  bool searched = false;
  bool large = false;
  for (const size_t i : share.files) {
    searched = searched || files_[i].push.basis == PushBasis::kOther;
    const auto& there = expected_at(files_[i]);
    large = large || (there && there->attr.size >= kMinRunBase);
  }
  // Sums are for comparing, unless blocks are searched for: few and large ones cost least.
  if (!searched) config.block_length = kMaxBlockLength;
  if (large && pool().features().compresses) {
    config.compression = CompressionKind::kZlibx;
    config.compress_level = 1;
  }
  return config;
}

void PushDataJob::start_share(size_t which, Way way) {
  const Share& share = shares_[which];
  std::vector<PushFile> session;
  for (const size_t i : share.files) session.push_back(files_[i].push);
  shares_[which].run = std::make_unique<PushDataRun>(
      context(), around().sessions, config_of(share, way), std::move(session),
      [this, which, way](PushDataResult result) { share_over(which, way, std::move(result)); });
}

void PushDataJob::share_over(size_t which, Way way, PushDataResult result) {
  Share& share = shares_[which];
  share.result = std::move(result);
  context().loop.post(
      [over = std::shared_ptr<PushDataRun>(std::move(share.run))]() mutable { over.reset(); });
  const auto ended = [](const Share& one) { return one.result.has_value(); };
  if (std::all_of(shares_.begin(), shares_.end(), ended)) ran(way);
}

// What a session could not be had for is planned again, as long as others could.
std::optional<Error> PushDataJob::end_of_shares() const {
  const bool some =
      std::any_of(shares_.begin(), shares_.end(), [](const Share& share) { return share.result->end.ok(); });
  for (const Share& share : shares_) {
    if (share.result->end) continue;
    const Error& why = share.result->end.error();
    const bool none_free = why.code() == Errc::kCanceled || why.code() == Errc::kRefused;
    if (!some || !none_free) return why;
  }
  return std::nullopt;
}

void PushDataJob::settle(File& file, const PushedFile& result, const PushDataResult& all) {
  const PushStep& step = file.facts.step;
  const auto why = all.errors.about(step.path);
  const bool appended = file.way == Way::kAppend;
  // A link in whose place it is listed is put aside before it is asked for, whatever is answered then.
  file.replaces = file.way == Way::kReplace && result.requested;
  // What is not acknowledged is looked at.
  const bool unsaid = !pool().features().acknowledgements && all.end && result.digest && !why;
  if ((result.succeeded || unsaid) && (result.digest || !result.requested)) {
    Success success{file.push.snapshot,
                    pushed_base(file.facts.local, file.facts.local.attr, pool().features().protocol >= 31),
                    {},
                    {{step.parent, step.name, step.node}}};
    if (!appended && result.digest) {
      digest_name_ = all.digest_name;
      const auto digest = result.digest->span();
      success.digest.assign(reinterpret_cast<const char*>(digest.data()), digest.size());  // NOLINT: bytes
    }
    success.unsaid = unsaid;
    if (why) fail(step, *why);
    if (why || unsaid) {
      doubtful_.push_back(std::move(success));
      doubtful_paths_.push_back(step.path);
    } else {
      successes_.push_back(std::move(success));
    }
  } else if (result.declined || (all.end && !result.requested && !why)) {
    declined_.push_back(step);
  } else if (result.failure && result.failure->code() == Errc::kNotFound) {
    return;  // removed meanwhile
  } else if (result.failure || why) {
    fail(step, result.failure ? *result.failure : *why);
  } else if (all.end) {
    fail(step, all.errors.last("the source did not take it and does not say why"));
  }
}

void PushDataJob::ran(Way way) {
  for (const Share& share : shares_) {
    const PushDataResult& result = *share.result;
    outcome().bytes_sent += result.literal_bytes;
    outcome().bytes_saved += result.copied_bytes;
    for (size_t i = 0; i < share.files.size(); ++i) settle(files_[share.files[i]], result.files[i], result);
  }
  const auto why = end_of_shares();
  if (why && keeps_ && is_refusal_to_keep(*why)) {
    pool().features().keeps = false;
    log_warn("what others change in the moment of a push may be lost: " + why->message());
  }
  if (keeps_ && !(why && is_link_error(*why))) {
    review(why.has_value(), [this, way, why] { go_on(way, why); });
  } else {
    go_on(way, why);
  }
}

void PushDataJob::go_on(Way way, const std::optional<Error>& why) {
  // A server that says itself why it ends has said before what it has done.
  outcome().unfinished = (why && is_link_error(*why)) || !doubtful_.empty() || spare_left_;
  if (why) {
    // Its other names lead to what was there before: it is not done.
    std::erase_if(successes_, [&](const Success& success) { return needs_links(success); });
    record([this, why] { break_off(*why); });
  } else if (!doubtful_.empty()) {
    learn_attributes([this, way] { way == Way::kReplace ? link_others() : run(next_way(way)); });
  } else if (way != Way::kReplace) {
    run(next_way(way));
  } else {
    link_others();
  }
}

// Until it is done nothing is acknowledged.
void PushDataJob::review(bool broke_off, Task then) {
  std::vector<ReviewedPlace> places;
  for (const File& file : files_) {
    if (!file.replaces) continue;
    ReviewedPlace& place = places.emplace_back();
    place.step = file.facts.step;
    place.expected = expected_at(file);
    const auto success = success_at(file.facts.step.parent, file.facts.step.name);
    if (success != successes_.end()) place.pushed = success->now.attr;
  }
  if (places.empty() && !broke_off) return then();
  outcome().unfinished = true;
  review_ = std::make_unique<PushReviewJob>(
      around(), PushBatch(batch()), std::move(places), replaceable_, broke_off,
      [this, then = std::move(then)](PushOutcome over) mutable {
        context().loop.post([job = std::shared_ptr<PushJob>(std::move(review_))]() mutable { job.reset(); });
        outcome().to_list = std::move(over.to_list);
        for (StepFailure& failure : over.failures) outcome().failures.push_back(std::move(failure));
        if (over.broken) return break_off(*over.broken);
        if (!over.failures.empty()) return finish();
        spare_left_ = over.unfinished;
        for (StepCollision& collision : over.collisions) {
          successes_.erase(success_at(collision.parent, collision.name));
          outcome().collisions.push_back(std::move(collision));
        }
        then();
      });
  review_->start();
}

std::vector<PushDataJob::Success>::iterator PushDataJob::success_at(NodeId parent, const std::string& name) {
  return std::find_if(successes_.begin(), successes_.end(), [&](const Success& success) {
    return success.names.front().parent == parent && success.names.front().name == name;
  });
}

// The server complained of an attribute after it had taken the contents, or says nothing at all: what it has
// now stays to be changed.
void PushDataJob::learn_attributes(Task then) {
  look(std::exchange(doubtful_paths_, {}), [this, then = std::move(then)](const Findings& found) mutable {
    for (size_t i = 0; i < doubtful_.size(); ++i) {
      Success& success = doubtful_[i];
      if (!found[i].entry || !S_ISREG(found[i].entry->attr.mode)) continue;
      const NodeAttributes& there = found[i].entry->attr;
      if (there.size != success.now.attr.size) continue;
      if (success.unsaid && there.mtime_s != success.now.attr.mtime_s) continue;
      success.now.attr = there;
      successes_.push_back(std::move(success));
    }
    doubtful_.clear();
    outcome().unfinished = spare_left_;
    then();
  });
}

const PushDataJob::File& PushDataJob::file_of(const Success& success) const {
  return *std::find_if(files_.begin(), files_.end(),
                       [&](const File& file) { return file.facts.step.node == success.now.node; });
}

bool PushDataJob::needs_links(const Success& success) const {
  const File& file = file_of(success);
  return file.way != Way::kAppend && !file.facts.step.other_names.empty();
}

// The server made a new inode for one name: the file's other names are to lead there, too.
void PushDataJob::link_others() {
  const auto with_others = std::find_if(successes_.begin(), successes_.end(),
                                        [&](const Success& success) { return needs_links(success); });
  if (with_others == successes_.end()) return record([this] { look_again(); });
  const PushStep& step = file_of(*with_others).facts.step;
  PushBatch batch{PushAction::kReplace, {}, this->batch().spare};
  for (size_t i = 0; i < step.other_names.size(); ++i) {
    PushStep& other = batch.steps.emplace_back();
    other.node = step.node;
    other.parent = step.other_names[i].parent;
    other.name = step.other_names[i].name;
    other.path = step.other_paths[i];
    other.from_parent = step.parent;
    other.from_name = step.name;
    other.from_path = step.path;
  }
  outcome().unfinished = true;
  others_ = std::make_unique<PushReplaceJob>(
      around(), std::move(batch), with_others->now.attr, step.path, [this](PushOutcome over) {
        context().loop.post([job = std::shared_ptr<PushJob>(std::move(others_))]() mutable { job.reset(); });
        // Not acknowledged: the next run finds the contents there and goes on with the names.
        if (over.broken || !over.failures.empty()) {
          for (StepFailure& failure : over.failures) outcome().failures.push_back(std::move(failure));
          successes_.clear();
          if (over.broken) return break_off(*over.broken);
        }
        outcome().unfinished = over.unfinished || spare_left_;
        record([this] { look_again(); });
      });
  others_->start();
}

void PushDataJob::record(Task then) {
  const size_t count = successes_.size();
  SentVersions left = sent_;
  for (const Success& success : successes_) {
    left.erase(success.now.node);
    outcome().pushed.push_back(success.now.node);
  }
  outcome().done += count;
  outcome().files += count;
  for (File& file : files_) file.push.snapshot.reset();
  std::string text = left.serialize();
  on_store<void>(
      [&replica = context().replica, successes = std::move(successes_), name = digest_name_,
       text = std::move(text)]() mutable -> Result<void> {
        std::vector<PushedContent> contents;
        for (Success& success : successes)
          contents.push_back({std::move(success.snapshot), success.now, success.digest.empty() ? "" : name,
                              std::move(success.digest), std::move(success.names)});
        const auto done = replica.pending().pushed(std::move(contents));
        return done ? replica.set_meta(kSentMeta, text) : done;
      },
      [this, left = std::move(left), then = std::move(then)](const Result<void>& done) mutable {
        if (!done) {
          outcome().unfinished = true;
          return break_off(done.error());
        }
        sent_ = std::move(left);
        then();
      });
  successes_.clear();
}

// What was not as expected: by now it can be said what it is.
void PushDataJob::look_again() {
  if (declined_.empty()) return finish();
  std::vector<std::string> paths;
  for (const PushStep& step : declined_) paths.push_back(step.path);
  look(std::move(paths), [this](const Findings& found) {
    for (size_t i = 0; i < declined_.size(); ++i) {
      collide(declined_[i], found[i]);
      outcome().collisions.back().other_bytes = true;
    }
    finish();
  });
}

void PushDataJob::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  PushJob::tick(now, stall);
  for (const Share& share : shares_) {
    if (share.run) share.run->tick(now, stall);
  }
  if (others_) others_->tick(now, stall);
  if (review_) review_->tick(now, stall);
}

void PushDataJob::add_transfers(std::vector<TransferStatus>& out) const {
  for (const Share& share : shares_) {
    if (share.run) share.run->add_transfers(out);
  }
}

}  // namespace rsyncfs
