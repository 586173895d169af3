// SPDX-License-Identifier: GPL-3.0-or-later
// A batch of contents: new files, files that only grew, and changed ones, each kind in a session of its own
// (but a few new ones with the changed ones).
// What is replaced is looked at before, and compared block by block with base where base's bytes are here. It
// is put aside by the server, and looked at once more there: what it was in the end (push_review_job.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/push_data_run.h"
#include "sync/engine/push_job.h"
#include "sync/engine/replaced_versions.h"
#include "sync/engine/sent_versions.h"

namespace rsyncfs {

class PushDataJob final : public PushJob {
 public:
  // `sent`: what was sent of these files before and perhaps not acknowledged; outlives the job.
  PushDataJob(const Surroundings& around, PushBatch batch, SentVersions& sent, Finished finished);
  ~PushDataJob() override;

  void start() override;
  void tick(Clock::time_point now, std::chrono::milliseconds stall) override;
  void add_transfers(std::vector<TransferStatus>& out) const override;

 private:
  enum class Way : uint8_t { kNew, kAppend, kReplace };
  struct File {
    StepFacts facts;
    PushFile push;
    Way way = Way::kNew;
    bool dropped = false;   // failed, or collides
    bool replaces = false;  // was sent over what the source had, or nothing
  };
  using Files = std::vector<File>;

  static Result<Files> open_snapshots(const Replica& replica, std::vector<StepFacts> facts,
                                      const SentVersions& sent, bool may_append);
  void take(Files files);
  void join_new();
  void fetch_missing();
  void look_first();
  static const std::optional<ExpectedEntry>& expected_at(const File& file);
  bool all_as_expected(const Findings& found) const;
  void judge(const Findings& found);
  void remember();
  // Files of one way that go in one session; sessions of a way run side by side.
  struct Share {
    std::vector<size_t> files;  // places in files_ of the session's entries
    std::unique_ptr<PushDataRun> run;
    std::optional<PushDataResult> result;
  };
  void run(Way way);
  void start_shares(Way way);
  void divide(Way way);
  void start_share(size_t which, Way way);
  void share_over(size_t which, Way way, PushDataResult result);
  PushConfig config_of(const Share& share, Way way) const;
  std::vector<NextSession> next_sessions();
  void ran(Way way);
  std::optional<Error> end_of_shares() const;
  void settle(File& file, const PushedFile& result, const PushDataResult& all);
  void go_on(Way way, const std::optional<Error>& why);
  bool keeps_replaced() const;
  void review(bool broke_off, Task then);
  void link_others();
  void record(Task then);
  void look_again();
  void learn_attributes(Task then);
  static Way next_way(Way way) { return way == Way::kNew ? Way::kAppend : Way::kReplace; }

  struct Success {
    std::shared_ptr<PushSnapshot> snapshot;
    BaseNode now;
    std::string digest;
    std::vector<Binding> names;
    bool unsaid = false;  // by a server that acknowledges nothing
  };

  const File& file_of(const Success& success) const;
  std::vector<Success>::iterator success_at(NodeId parent, const std::string& name);
  // It has other names, and was not changed in place.
  bool needs_links(const Success& success) const;

  SentVersions& sent_;
  SentVersions replaceable_;  // by this job
  bool keeps_ = false;        // the server puts aside what is replaced
  bool spare_left_ = false;   // the server could not remove what it had put aside
  Files files_;
  std::vector<Share> shares_;
  std::unique_ptr<PushJob> others_;  // the last part
  std::unique_ptr<PushJob> review_;
  std::vector<Success> successes_;
  std::vector<Success> doubtful_;  // the contents are there, but perhaps not all of the attributes
  std::vector<std::string> doubtful_paths_;
  std::string digest_name_;
  std::vector<PushStep> declined_;
  size_t fetching_ = 0;
};

}  // namespace rsyncfs
