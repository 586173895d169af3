// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/protocol.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/control/byte_text.h"
#include "fs/control/conflict_document.h"
#include "fs/control/info_document.h"
#include "fs/control/status_document.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

using ::testing::HasSubstr;

TEST(ByteText, KeepsTextAndEscapesTheRest) {
  EXPECT_EQ(bytes_to_text("a/\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80"),
            "a/\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80");
  EXPECT_EQ(bytes_to_text("\xff\\\xc3"), R"(\377\\\303)");
  EXPECT_EQ(bytes_to_text("\xc0\xaf"), R"(\300\257)") << "overlong";
  EXPECT_EQ(bytes_to_text("\xed\xa0\x80"), R"(\355\240\200)") << "surrogate";
  EXPECT_EQ(bytes_to_text("\xf4\x90\x80\x80"), R"(\364\220\200\200)") << "beyond Unicode";
  for (const char* bad : {"\\", "\\4", "\\48", "\\400", "\\x41", "a\\"})
    EXPECT_FALSE(text_to_bytes(bad).ok()) << bad;
}

TEST(ByteText, AnyBytesComeBack) {
  const auto seed = static_cast<unsigned>(support::test_seed());
  std::mt19937 random(seed);
  // Bytes from which both valid and broken UTF-8 comes about, and escapes.
  const std::string alphabet = "a\\07\x7f\x80\xa0\xbf\xc2\xe0\xed\xf0\xf4\xff/";
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    for (size_t n = random() % 12; n > 0; --n) bytes += alphabet[random() % alphabet.size()];
    const Result<std::string> back = text_to_bytes(bytes_to_text(bytes));
    ASSERT_TRUE(back.ok());
    ASSERT_EQ(*back, bytes);
  }
}

TEST(ControlRequest, ComesBackAsItWas) {
  for (const ControlRequest& request :
       {ControlRequest{.verb = ControlVerb::kStatus},
        ControlRequest{.verb = ControlVerb::kUnmount, .lazy = true},
        ControlRequest{.verb = ControlVerb::kInfo, .paths = {""}},
        ControlRequest{.verb = ControlVerb::kFlush, .paths = {"a"}},
        ControlRequest{.verb = ControlVerb::kFlush, .paths = {""}, .limit_s = 0},
        ControlRequest{.verb = ControlVerb::kUnmount, .limit_s = 30},
        ControlRequest{.verb = ControlVerb::kConflicts},
        ControlRequest{.verb = ControlVerb::kConflicts, .clear = true},
        ControlRequest{.verb = ControlVerb::kRefresh, .paths = {"a"}},
        ControlRequest{.verb = ControlVerb::kResume}, ControlRequest{.verb = ControlVerb::kHandOver},
        ControlRequest{.verb = ControlVerb::kFree, .paths = {"", "a"}},
        ControlRequest{.verb = ControlVerb::kPin, .paths = {"a"}},
        ControlRequest{.verb = ControlVerb::kVerify, .paths = {"a", ""}},
        ControlRequest{.verb = ControlVerb::kVerify, .paths = {"a"}, .remote = true},
        ControlRequest{.verb = ControlVerb::kUnpin, .paths = {"a", "b"}},
        ControlRequest{.verb = ControlVerb::kFetch, .paths = {"a/b\n\xff\\", "", "..a"}}}) {
    const std::string line = encode(request);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const Result<ControlRequest> back = decode_control_request(line);
    ASSERT_TRUE(back.ok()) << line << ": " << back.error().message();
    EXPECT_EQ(*back, request);
  }
}

TEST(ControlRequest, BadOnesAreRefused) {
  for (const char* line : {"",
                           "{}",
                           "[]",
                           "1",
                           "{\"verb\":1}",
                           "{\"verb\":\"format\"}",
                           "{\"verb\":\"info\"}",
                           "{\"verb\":\"info\",\"paths\":[]}",
                           "{\"verb\":\"info\",\"paths\":[\"a\",\"b\"]}",
                           "{\"verb\":\"info\",\"paths\":[1]}",
                           "{\"verb\":\"status\",\"paths\":[\"a\"]}",
                           "{\"verb\":\"flush\"}",
                           "{\"verb\":\"verify\"}",
                           "{\"verb\":\"verify\",\"paths\":[]}",
                           "{\"verb\":\"flush\",\"paths\":[\"a\",\"b\"]}",
                           "{\"verb\":\"resume\",\"paths\":[\"a\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"/etc\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"a/../b\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"..\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"a//b\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"a/\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"a\\\\000\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"a\\u0000\"]}",
                           "{\"verb\":\"info\",\"paths\":[\"\\\\9\"]}",
                           "{\"verb\":\"status\"",
                           "{\"verb\":\"status\"}{\"verb\":\"status\"}"}) {
    EXPECT_FALSE(decode_control_request(line).ok()) << line;
  }
  EXPECT_EQ(decode_control_request("{\"verb\":\"umount\",\"limit_s\":99999999999}")->limit_s,
            kMaxControlLimitS);
  EXPECT_EQ(decode_control_request("{\"verb\":\"umount\",\"limit_s\":-1}")->limit_s, 0U);
  ControlRequest many{.verb = ControlVerb::kFetch};
  many.paths.assign(kMaxControlPaths, "a");
  EXPECT_TRUE(decode_control_request(encode(many)).ok());
  many.paths.emplace_back("a");
  EXPECT_EQ(decode_control_request(encode(many)).error().code(), Errc::kLimit);
  EXPECT_FALSE(decode_control_request(std::string(200'000, '[')).ok()) << "depth is no way to hurt us";
}

TEST(ControlAnswer, ComesBackAsItWas) {
  JobProgress progress;
  progress.files_done = 1;
  progress.files_total = UINT64_MAX;
  progress.bytes_done = 3;
  progress.bytes_total = 4;
  progress.files_failed = 5;
  progress.counting = true;
  using Kind = ControlAnswer::Kind;
  for (const ControlAnswer& answer :
       {ControlAnswer{.kind = Kind::kProgress, .progress = progress}, ControlAnswer{.kind = Kind::kDone},
        ControlAnswer{.kind = Kind::kDone, .progress = progress, .document = "{\"a\":[1,\"x\"]}"},
        ControlAnswer{.kind = Kind::kFailedPath, .path = "a\xff\n", .reason = "because"},
        ControlAnswer{.kind = Kind::kFinding, .path = "a\xff\n", .reason = "1 B damaged; fetched again"},
        ControlAnswer{.kind = Kind::kFailed, .reason = "busy", .failure = ControlFailure::kBusy},
        ControlAnswer{.kind = Kind::kFailed, .reason = "3 left", .failure = ControlFailure::kUnsent}}) {
    const Result<ControlAnswer> back = decode_control_answer(encode(answer));
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(*back, answer);
  }
}

TEST(ControlAnswer, BrokenTextBecomesReadableText) {
  const ControlAnswer answer{.kind = ControlAnswer::Kind::kFailed, .reason = "name \xff here"};
  const Result<ControlAnswer> back = decode_control_answer(encode(answer));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->reason, "name \xef\xbf\xbd here");
}

MountStatus sample_status() {
  MountStatus status;
  status.version = "0.1.0";
  status.pid = 4711;
  status.source = "rsync://h/m";
  status.mountpoint = "/mnt/\xff";
  status.state_directory = "/var/lib/rsyncfs/h-m-1";
  status.started_at_s = 1'700'000'000;
  SyncerStatus& syncer = status.syncer;
  syncer.link = LinkState::kDown;
  syncer.link_text = "unreachable: refused, retry in 4 s";
  syncer.last_error = "refused";
  syncer.protocol = 32;
  syncer.checksum = "xxh128";
  syncer.compression = "zstd";
  syncer.bytes_per_second = 51'200;
  syncer.tree_listed = true;
  syncer.tree_entries = 12;
  syncer.tree_listed_at_s = 1'700'000'001;
  syncer.directories_in_use = 14;
  syncer.directories_every_ms = 1'000;
  syncer.tree_every_ms = 15'000;
  syncer.bytes_in = 1;
  syncer.bytes_out = 2;
  syncer.sessions_opened = 3;
  syncer.lists_received = 4;
  syncer.files_fetched = 5;
  syncer.bytes_fetched = 6;
  syncer.files_failed = 7;
  syncer.requests_timed_out = 8;
  syncer.waiting_requests = 9;
  syncer.sessions = {{"tree", "armed", 12, 1, 100, 50}};
  syncer.transfers = {{"big\n", 25, 100}};
  syncer.failing_paths = {"a\xff: Permission denied"};
  syncer.cache = {31, 3'221'225'472, 33, 2048, 35, 36, 37};
  status.writable = true;
  PushStatus& push = syncer.push;
  push.pending_names = 3;
  push.pending_nodes = 2;
  push.pending_bytes = 2048;
  push.local_only = 27;
  push.oldest_s = 1'700'000'002;
  push.pushed_files = 21;
  push.pushed_bytes = 22;
  push.bytes_saved = 23;
  push.deletes = 24;
  push.moves = 25;
  push.sending = {{"new\xff", 1, 4}};
  push.failing = {"full: No space left on device, retry in 3 s"};
  push.stopped = "24 deletions at once";
  push.conflicts = 26;
  status.io_engine = "threads";
  status.io_reason = "threads: asked for";
  status.io_wakeups = 10;
  status.io_submits = 11;
  status.io_operations = {{"recv", 3}, {"send", 2}};
  status.batch_engine = "io_uring";
  status.batches = 14;
  status.batch_reads = 150;
  status.batch_read_bytes = 4096;
  status.batch_syncs = 1;
  status.batch_removals = 70;
  status.cached_bytes = 1024;
  status.cached_files = 1;
  status.partial_files = 2;
  status.nodes = 13;
  status.requests = {{"lookup", 5}};
  status.front_description = "fuse 7.45";
  status.front_errors = 1;
  status.front_waiting = 2;
  status.front_parked_total = 3;
  status.front_known_nodes = 4;
  status.notifications_sent = 5;
  status.events_raised = 6;
  status.rss_bytes = 9'000'000;
  syncer.wire[static_cast<size_t>(WirePurpose::kRead)] = {51, 52, 53};
  status.reads = {54, 55, 1, 57, {}};
  status.reads.miss_latency.counts[7] = 1;
  status.reads.miss_latency.sum_ns = 40'000'000;
  status.reply_errors = {{"EIO", 1}};
  syncer.session_failures[static_cast<size_t>(Errc::kTimedOut)] = 58;
  syncer.fetch_failures[static_cast<size_t>(Errc::kVanished)] = 59;
  push.failures[static_cast<size_t>(Errc::kRefused)] = 60;
  push.latency.counts[11] = 2;
  push.latency.sum_ns = 61;
  status.request_latencies = {{"lookup", {}}};
  status.request_latencies[0].second.counts[0] = 5;
  status.request_latencies[0].second.sum_ns = 62;
  return status;
}

// Programs of users read this: keys may be added, never renamed or removed. fs/control/STATUS_JSON.md.
constexpr const char* kGoldenStatus =
    R"({"version":"0.1.0","pid":4711,"source":"rsync://h/m","mountpoint":"/mnt/\\377",)"
    R"("state_directory":"/var/lib/rsyncfs/h-m-1","started_at":1700000000,)"
    R"("phase":"mounted","writable":true,"read_only_reason":"",)"
    R"("link":{"state":"down","text":"unreachable: refused, retry in 4 s","last_error":"refused","protocol":32,)"
    R"("checksum":"xxh128","compression":"zstd","bytes_per_second":51200},)"
    R"("io":{"engine":"threads","reason":"threads: asked for","wakeups":10,"submits":11,)"
    R"("operations":{"recv":3,"send":2},)"
    R"("batch":{"engine":"io_uring","batches":14,"reads":150,"read_bytes":4096,"syncs":1,"removals":70}},)"
    R"("tree":{"listed":true,"entries":12,"listed_at":1700000001},"poll":{"directories_in_use":14,"directories_every_ms":1000,"tree_every_ms":15000},)"
    R"("totals":{"bytes_in":1,"bytes_out":2,"sessions_opened":3,"lists_received":4,"files_fetched":5,)"
    R"("bytes_fetched":6,"files_failed":7,"requests_timed_out":8,"waiting_requests":9},)"
    R"("cache":{"bytes":1024,"files":1,"partial_files":2,"nodes":13,"disk_bytes":31,"limit_bytes":3221225472,)"
    R"("min_free_bytes":33,"free_bytes":2048,"evicted_files":35,"evicted_bytes":36,"pins":37},"requests":{"lookup":5},)"
    R"("fuse":{"description":"fuse 7.45","errors":1,"waiting":2,"waited_total":3,"known_nodes":4,)"
    R"("notifications":5,"events":6},"memory":{"rss_bytes":9000000},)"
    R"("sessions":[{"purpose":"tree","state":"armed","entries":12,"unanswered":1,"bytes_in":100,"bytes_out":50}],)"
    R"("transfers":[{"path":"big\n","done_bytes":25,"total_bytes":100}],)"
    R"("failing":["a\\377: Permission denied"],)"
    R"("push":{"pending_names":3,"pending_nodes":2,"pending_bytes":2048,"local_only":27,"oldest_at":1700000002,"pushed_files":21,)"
    R"("pushed_bytes":22,"bytes_saved":23,"deletes":24,"moves":25,)"
    R"("sending":[{"path":"new\\377","done_bytes":1,"total_bytes":4}],)"
    R"("failing":["full: No space left on device, retry in 3 s"],"stopped":"24 deletions at once","conflicts":26},)"
    R"("wire":{"list":{"bytes_in":0,"bytes_out":0,"sessions":0},"poll":{"bytes_in":0,"bytes_out":0,"sessions":0},)"
    R"("read":{"bytes_in":51,"bytes_out":52,"sessions":53},"read_ahead":{"bytes_in":0,"bytes_out":0,"sessions":0},)"
    R"("push":{"bytes_in":0,"bytes_out":0,"sessions":0},"ready":{"bytes_in":0,"bytes_out":0,"sessions":0}},)"
    R"("reads":{"hits":54,"hit_bytes":55,"misses":1,"missed_bytes":57},)"
    R"("failures":{"replies":{"EIO":1},"sessions":{"timed out":58},"fetches":{"vanished":59},"pushes":{"refused":60}},)"
    R"("latency":{"bounds_us":[10,50,100,500,1000,5000,10000,50000,100000,500000,1000000,5000000,10000000,60000000,600000000],)"
    R"("read_miss":{"counts":[0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0],"sum_ns":40000000},)"
    R"("push":{"counts":[0,0,0,0,0,0,0,0,0,0,0,2,0,0,0,0],"sum_ns":61},)"
    R"("requests":{"lookup":{"counts":[5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"sum_ns":62}}}})";

TEST(StatusDocument, IsStable) {
  EXPECT_EQ(status_json(sample_status()), kGoldenStatus);
}

TEST(StatusDocument, ComesBackWhole) {
  const Result<MountStatus> back = parse_status(kGoldenStatus);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(status_json(*back), kGoldenStatus);
  EXPECT_EQ(back->mountpoint, "/mnt/\xff");
  EXPECT_EQ(status_text(*back), status_text(sample_status()));
}

TEST(StatusDocument, TextSaysItInWords) {
  const std::string text = status_text(sample_status());
  for (const char* word :
       {"rsync://h/m on /mnt/",
        "down: unreachable: refused",
        "12 entries",
        "1 complete file",
        "31 B taken of 3.0 GiB, 2.0 KiB free of at least 33 B; 35 files let go (36 B), 37 pins",
        "threads: asked for",
        "recv 3, send 2; 10 wakeups, 11 calls to the kernel",
        "files of the store (io_uring): 150 reads (4.0 KiB), 1 sync, 70 removals; 14 times several at once",
        "pid 4711",
        "version 0.1.0",
        "8.6 MiB resident",
        "lookup 5",
        "big\\012: 25 B of 100 B (25 %)",
        "Permission denied",
        "9 requests waiting",
        "3 changes (2.0 KiB) not on the source yet, the oldest for ",
        "21 files sent (22 B, 23 B saved)",
        "25 moves, 24 deletions",
        "1 B of 4 B (25 %)",
        "full: No space left on device, retry in 3 s",
        "24 deletions at once",
        "rsyncfs resume /mnt/",
        "26; rsyncfs conflicts /mnt/"}) {
    EXPECT_THAT(text, HasSubstr(word));
  }
}

TEST(StatusDocument, TextOfAReadOnlyMountIsSilentAboutWritingUnlessSomethingIsLeft) {
  MountStatus status = sample_status();
  status.writable = false;
  EXPECT_THAT(status_text(status), HasSubstr("this mount is read-only and keeps them"));
  status.syncer.push = {};
  EXPECT_EQ(status_text(status).find("on the source"), std::string::npos);
  status.writable = true;
  EXPECT_THAT(status_text(status), HasSubstr("none; all is on the source"));
  status.read_only_reason = "module is read only";
  EXPECT_THAT(status_text(status), HasSubstr("the source refuses changes: module is read only"));
}

TEST(StatusDocument, TellsThatItDrains) {
  MountStatus status = sample_status();
  status.is_draining = true;
  EXPECT_THAT(status_json(status), HasSubstr("\"phase\":\"draining\""));
  const Result<MountStatus> back = parse_status(status_json(status));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->is_draining);
  EXPECT_THAT(status_text(*back), HasSubstr("(unmounted, sending what is left)"));
}

TEST(StatusDocument, OfAnotherVersionIsReadAsFarAsItGoes) {
  const Result<MountStatus> status = parse_status(
      R"({"pid":"no number","link":[],"sessions":[1,{}],"transfers":{},"failing":[2],"io":null})");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->pid, 0U);
  EXPECT_EQ(status->syncer.sessions.size(), 1U);
  EXPECT_FALSE(status_text(*status).empty());
  EXPECT_FALSE(parse_status("[]").ok());
}

ConflictRecord sample_conflict() {
  ConflictRecord record;
  record.id = 7;
  record.at_s = 1'700'000'000;
  record.path = "a/b\xff";
  record.copy_path = "a/b\xff.conflict-h-1";
  record.what = "changed on both sides";
  return record;
}

TEST(InfoDocument, TellsWhatTheSourceDoesNotHave) {
  PathInfo info;
  info.path = "a/b";
  info.type = "file";
  info.state = "dirty";
  info.differences = {"contents", "mode"};
  info.changed_at_s = 1'700'000'000;
  info.conflict = sample_conflict();
  const std::string json = info_json(info);
  EXPECT_THAT(json,
              HasSubstr(R"("differences":["contents","mode"],"changed_at":1700000000,"conflict":{"id":7,)"));
  const Result<PathInfo> back = parse_info(json);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(info_json(*back), json);
  const std::string text = info_text(*back);
  for (const char* word : {"does not have it yet", "contents, mode, since 20", "changed on both sides",
                           "the other version is a/b"}) {
    EXPECT_THAT(text, HasSubstr(word));
  }
}

// Programs of users read this too.
TEST(ConflictDocument, IsStableAndComesBack) {
  const std::string golden =
      R"({"conflicts":[{"id":7,"at":1700000000,"path":"a/b\\377","copy":"a/b\\377.conflict-h-1",)"
      R"("what":"changed on both sides"}],"more":0})";
  EXPECT_EQ(conflicts_json(make_conflict_list({sample_conflict()})), golden);
  const Result<ConflictList> back = parse_conflicts(golden);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(conflicts_json(*back), golden);
  const std::string text = conflicts_text(*back, "/mnt");
  for (const char* word : {"/mnt/a/b", "    changed on both sides\n", "/mnt/a/b\xff.conflict-h-1"}) {
    EXPECT_THAT(text, HasSubstr(word));
  }
  EXPECT_FALSE(parse_conflicts("[]").ok());
}

TEST(ConflictDocument, TakesWhatFitsAndTellsHowManyDoNot) {
  std::vector<ConflictRecord> records(1'000, sample_conflict());
  for (ConflictRecord& record : records) record.path.assign(4'000, 'x');
  const ConflictList list = make_conflict_list(records);
  EXPECT_LT(list.conflicts.size(), 300U);
  EXPECT_GT(list.conflicts.size(), 200U);
  EXPECT_EQ(list.more, 1'000U - list.conflicts.size());
  EXPECT_THAT(conflicts_text(list, "/"), HasSubstr(std::to_string(list.more) + " older ones"));
}

TEST(InfoDocument, IsStableAndComesBack) {
  PathInfo info;
  info.path = "a/b\xff";
  info.type = "file";
  info.state = "partial";
  info.source_path = "rsync://h/m/a/b\xff";
  info.node = 7;
  info.inode = 6;
  info.size_bytes = 1000;
  info.cached_bytes = 100;
  info.pinned = true;
  info.mtime_s = -5;
  info.mtime_ns = 42;
  info.link = LinkState::kUp;
  info.link_text = "connected";
  info.why = "being fetched";
  info.reasons = {"being fetched", "it may be stale"};
  const std::string golden =
      R"({"path":"a/b\\377","type":"file","state":"partial","source_path":"rsync://h/m/a/b\\377","node":7,"inode":6,)"
      R"("size":1000,"cached_bytes":100,"pinned":true,"version":{"size":1000,"mtime":-5,"mtime_ns":42},"listed_at":0,)"
      R"("link":{"state":"up","text":"connected"},"why":"being fetched","differences":[],"changed_at":0,"conflict":null,)"
      R"("reasons":["being fetched","it may be stale"]})";
  EXPECT_EQ(info_json(info), golden);
  const Result<PathInfo> back = parse_info(golden);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(info_json(*back), golden);
  const std::string text = info_text(*back);
  for (const char* word : {"partial", "7, inode 6", "1000 bytes", ".000000042", "100 B of 1000 B",
                           "being fetched\n", "it may be stale\n", "stays here"}) {
    EXPECT_THAT(text, HasSubstr(word));
  }
}

}  // namespace
}  // namespace rsyncfs
