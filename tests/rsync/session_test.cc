// SPDX-License-Identifier: GPL-3.0-or-later
// Sessions with servers that misbehave, are old, or say things at odd times.
#include <gtest/gtest.h>

#include "sync/rsync/server_arguments.h"
#include "sync/rsync/server_text.h"
#include "tests/rsync/fake_server.h"

namespace rsyncfs {
namespace {

using support::MemorySink;

Errc code_of(const Result<void>& result) {
  return result.ok() ? Errc::kUsage : result.error().code();
}

TEST(PullSession, OpensAndFetches) {
  FakeServer server;
  EXPECT_EQ(server.sent(), Wire().le32(32).text());
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  EXPECT_TRUE(server.established);
  EXPECT_EQ(server.lists, 1);
  EXPECT_EQ(server.session->checksum_seed(), 99);
  server.sent();
  MemorySink b;
  MemorySink a;
  server.session->request_file(1, {}, b);
  server.session->request_file(0, {}, a);
  EXPECT_EQ(
      server.sent(),
      Wire().data(FakeServer::whole_reply_head(2)).text() +
          Wire()
              .data(Wire().u8(0xfe).u8(0x80).u8(0).u8(0).u8(0).le16(0x8000).raw(std::string(16, '\0')).text())
              .text());
  ASSERT_TRUE(server.send(Wire().data(FakeServer::reply(2, "contents of b"))).ok());
  EXPECT_EQ(b.data, "contents of b");
  EXPECT_EQ(b.end->status, FileEnd::Status::kGood);
  EXPECT_EQ(server.session->unanswered(), 1u);
}

TEST(PullSession, GoodbyeOfEachProtocol) {
  for (const int version : {30, 31, 32}) {
    SCOPED_TRACE(version);
    FakeServer server;
    ASSERT_TRUE(server.send(FakeServer::opening(version)).ok());
    ASSERT_TRUE(server.send(Wire().data(plain_entry("a") + end_of_list())).ok());
    server.sent();
    server.session->finish();
    EXPECT_EQ(server.sent(), Wire().data(std::string(version >= 31 ? 5 : 4, '\0')).text());
    std::string goodbye(3, '\0');
    for (int i = 0; i < 5; ++i) goodbye += Wire().varlong(123456789012, 3).text();
    ASSERT_TRUE(server.send(Wire().data(goodbye)).ok());
    EXPECT_EQ(server.session->state(), version >= 31 ? PullState::kClosing : PullState::kEnded);
    if (version >= 31) {
      EXPECT_EQ(code_of(server.session->end_of_input()), Errc::kDisconnected);
    }
  }
}

TEST(PullSession, MayBeFinishedFromWithinAnEvent) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  struct Last : MemorySink {
    explicit Last(PullSession& owner) : session(owner) {}
    void done(FileEnd file_end) override {
      MemorySink::done(std::move(file_end));
      session.finish();
    }
    PullSession& session;
  } sink(*server.session);
  struct Next : MemorySink {
    Next(PullSession& owner, FileSink& after) : session(owner), next(after) {}
    void done(FileEnd file_end) override {
      MemorySink::done(std::move(file_end));
      session.request_file(1, {}, next);
    }
    PullSession& session;
    FileSink& next;
  } first(*server.session, sink);
  server.session->request_file(0, {}, first);
  // Everything in one frame, goodbye included.
  std::string all = FakeServer::reply(1, "a") + FakeServer::reply(1, "b") + std::string(3, '\0');
  for (int i = 0; i < 5; ++i) all += Wire().varlong(1, 3).text();
  ASSERT_TRUE(server.send(Wire().data(all + '\0')).ok());
  EXPECT_EQ(first.data, "a");
  EXPECT_EQ(sink.data, "b");
  EXPECT_EQ(server.session->state(), PullState::kEnded);
  EXPECT_TRUE(server.session->end_of_input().ok());
}

TEST(PullSession, NoSendOvertakesReplies) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  std::vector<MemorySink> sinks(3);
  server.session->request_file(0, {}, sinks[0]);
  server.session->request_file(1, {}, sinks[1]);
  server.session->request_file(0, {}, sinks[2]);
  ASSERT_TRUE(
      server.send(Wire().frame(MuxTag::kWarning, "file has vanished: \"b\"\n").number(MuxTag::kNoSend, 1))
          .ok());
  ASSERT_TRUE(sinks[1].end);
  EXPECT_EQ(sinks[1].end->status, FileEnd::Status::kNotSent);
  EXPECT_EQ(sinks[1].end->reason.code(), Errc::kVanished);
  // The reason is used up.
  ASSERT_TRUE(server.send(Wire().number(MuxTag::kNoSend, 0)).ok());
  EXPECT_EQ(sinks[2].end->reason.code(), Errc::kOs);
  ASSERT_TRUE(server.send(Wire().data(FakeServer::reply(1, "a"))).ok());
  EXPECT_EQ(sinks[0].data, "a");
  EXPECT_EQ(server.session->unanswered(), 0u);
  EXPECT_EQ(code_of(server.send(Wire().number(MuxTag::kNoSend, 0))), Errc::kProtocol);
}

TEST(PullSession, NoSendInTheMiddleOfAFile) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  MemorySink a;
  MemorySink b;
  server.session->request_file(0, {}, a);
  server.session->request_file(1, {}, b);
  const std::string reply = FakeServer::reply(1, "some contents");
  ASSERT_TRUE(
      server.send(Wire().data(reply.substr(0, 30)).number(MuxTag::kNoSend, 1).data(reply.substr(30))).ok());
  EXPECT_EQ(a.end->status, FileEnd::Status::kGood);
  EXPECT_EQ(a.data, "some contents");
  EXPECT_EQ(b.end->status, FileEnd::Status::kNotSent);
}

TEST(PullSession, WrongRepliesEndIt) {
  const auto after = [](const std::string& reply, bool request = true) {
    FakeServer server;
    EXPECT_TRUE(server.send(FakeServer::opening_and_list()).ok());
    MemorySink a;
    if (request) server.session->request_file(0, {}, a);
    const Errc code = code_of(server.send(Wire().data(reply)));
    EXPECT_EQ(code_of(server.send(Wire().data(""))), code);  // final
    return code;
  };
  EXPECT_EQ(after(FakeServer::reply(1, "a")), Errc::kUsage);
  EXPECT_EQ(after(FakeServer::reply(2, "a")), Errc::kProtocol);         // another index
  EXPECT_EQ(after(FakeServer::reply(1, "a"), false), Errc::kProtocol);  // not asked for
  EXPECT_EQ(after(Wire().u8(1).le16(0).text()), Errc::kProtocol);       // no transfer
  EXPECT_EQ(after(Wire().u8(1).le16(0x8000).le32(5).le32(700).le32(2).le32(0).text()),
            Errc::kProtocol);  // other sums
  EXPECT_EQ(after(FakeServer::whole_reply_head(1) + Wire().le32(-1).text()),
            Errc::kProtocol);                                         // no such block
  EXPECT_EQ(after(Wire().u8(0).text()), Errc::kDisconnected);         // it stops by itself
  EXPECT_EQ(after(Wire().u8(0xff).u8(100).text()), Errc::kProtocol);  // a directory's list
}

TEST(PullSession, AnExtraNameInAReplyIsAVstring) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  MemorySink a;
  server.session->request_file(0, {}, a);
  const std::string rest = FakeServer::reply(1, "abc").substr(3);
  ASSERT_TRUE(server
                  .send(Wire().data(Wire()
                                        .u8(1)
                                        .le16(0x8000 | 0x800 | 0x1000)
                                        .u8(0x80)
                                        .vstring(std::string(200, 'n'))
                                        .raw(rest)
                                        .text()))
                  .ok());
  EXPECT_EQ(a.data, "abc");
}

TEST(PullSession, OnlySensibleTimeoutsAreTaken) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening()).ok());
  for (const int seconds : {0, -1, 86401, INT32_MAX}) {
    ASSERT_TRUE(server.send(Wire().number(MuxTag::kIoTimeout, seconds)).ok());
    EXPECT_EQ(server.session->server_io_timeout_s(), 0);
  }
  ASSERT_TRUE(server.send(Wire().number(MuxTag::kIoTimeout, 6)).ok());
  EXPECT_EQ(server.session->server_io_timeout_s(), 6);
  ASSERT_TRUE(server.send(Wire().number(MuxTag::kIoTimeout, 0)).ok());
  EXPECT_EQ(server.session->server_io_timeout_s(), 6);
}

TEST(PullSession, ControlMessagesOfTheWrongSizeEndIt) {
  for (const MuxTag tag : {MuxTag::kIoError, MuxTag::kIoTimeout, MuxTag::kNoSend, MuxTag::kErrorExit}) {
    FakeServer server;
    ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
    EXPECT_EQ(code_of(server.send(Wire().frame(tag, "abc"))), Errc::kProtocol);
  }
  for (const MuxTag tag : {MuxTag::kRedo, MuxTag::kStats, MuxTag::kSuccess, MuxTag::kDeleted}) {
    FakeServer server;
    ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
    EXPECT_EQ(code_of(server.send(Wire().number(tag, 0))), Errc::kProtocol);
  }
}

TEST(PullSession, IoErrorsBeforeTheListsEndCount) {
  FakeServer server;
  ASSERT_TRUE(server.send(FakeServer::opening()).ok());
  ASSERT_TRUE(server.send(Wire().number(MuxTag::kIoError, 0xff01)).ok());
  ASSERT_TRUE(server.send(Wire().data(plain_entry("a") + end_of_list(2))).ok());
  EXPECT_EQ(server.session->list().io_error, 3u);
}

TEST(PullSession, AnEmptyListIsAnError) {
  FakeServer mute;
  ASSERT_TRUE(mute.send(FakeServer::opening()).ok());
  ASSERT_TRUE(mute.send(Wire().data(end_of_list())).ok());
  EXPECT_EQ(mute.lists, 0);
  EXPECT_EQ(code_of(mute.session->end_of_input()), Errc::kNotFound);
  FakeServer late;  // the words after the list
  ASSERT_TRUE(late.send(FakeServer::opening()).ok());
  ASSERT_TRUE(late.send(Wire().data(end_of_list(1))).ok());
  ASSERT_TRUE(late.send(Wire().frame(MuxTag::kErrorXfer,
                                     "rsync: [sender] link_stat \"/x\" failed: Permission denied (13)\n"))
                  .ok());
  EXPECT_EQ(code_of(late.session->end_of_input()), Errc::kPermission);
}

TEST(PullSession, KeepAlivesAreEmptyDataFrames) {
  FakeServer server;
  server.sent();
  server.session->keep_alive();
  EXPECT_EQ(server.sent(), "");  // nothing is framed yet
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  server.sent();
  server.session->keep_alive();
  EXPECT_EQ(server.sent(), std::string("\0\0\0\7", 4));
}

PullConfig append_config() {
  PullConfig config = FakeServer::bare_config();
  config.extra_args = {"--append"};
  return config;
}

TEST(PullSession, AppendsTooDeepAreRefusedAndTheSessionLives) {
  constexpr int64_t kHuge = int64_t{1} << 60;
  FakeServer server(append_config());
  ASSERT_TRUE(server.send(FakeServer::opening()).ok());
  const std::string list =
      plain_entry("a", S_IFREG | 0644, kHuge) + plain_entry("b", S_IFREG | 0644, kHuge) + end_of_list();
  ASSERT_TRUE(server.send(Wire().data(list)).ok());
  server.sent();
  MemorySink deep;
  server.session->request_append(0, kMaxAppendOffset + 1, deep);
  ASSERT_TRUE(deep.end);
  EXPECT_EQ(deep.end->status, FileEnd::Status::kNotSent);
  EXPECT_EQ(deep.end->reason.code(), Errc::kLimit);
  EXPECT_EQ(deep.begun, 0);
  EXPECT_EQ(server.sent(), "");
  MemorySink last;
  server.session->request_append(1, kMaxAppendOffset, last);
  const std::string head =
      Wire().u8(2).le16(0x8000).le32(0x7fffffff).le32(kMaxBlockLength).le32(0).le32(0).text();
  EXPECT_EQ(server.sent(), Wire().data(head).text());
  EXPECT_EQ(server.session->unanswered(), 1u);
}

TEST(PullSession, AppendErrorsOfTheCallerAreCaught) {
  MemorySink sink;
  FakeServer plain;
  ASSERT_TRUE(plain.send(FakeServer::opening_and_list()).ok());
  EXPECT_DEATH(plain.session->request_append(0, 10, sink), "check failed");  // not opened for it
  FakeServer server(append_config());
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  server.session->request_append(0, 10, sink);
  MemorySink again;
  EXPECT_DEATH(server.session->request_append(0, 20, again), "check failed");
  BlockSums sums{.block_length = 700, .strong_length = 2, .remainder = 0, .blocks = {}};
  sums.blocks.resize(1);
  sums.blocks[0].strong.size = 16;
  EXPECT_DEATH(server.session->request_file(1, sums, again), "check failed");
  server.session->request_file(1, {}, again);
  EXPECT_DEATH(server.session->request_append(1, 20, again), "check failed");
}

TEST(PullSession, NegotiationTakesOurFirstCommonName) {
  const auto open = [](std::string_view names) {
    FakeServer server;
    const auto sent = server.send(Wire().le32(32).varint(0x1fe).vstring(names).le32(1));
    return sent.ok() ? Result<ChecksumKind>(server.session->checksum()) : Result<ChecksumKind>(sent.error());
  };
  EXPECT_EQ(*open("md5 xxh64 xxh128"), ChecksumKind::kXxh128);
  EXPECT_EQ(*open("unknown new xxh64 md4"), ChecksumKind::kXxh64);
  EXPECT_EQ(*open("sha1"), ChecksumKind::kSha1);
  const auto none = open("blake3 xxh1280");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), Errc::kUnsupported);
  EXPECT_NE(none.error().message().find("blake3 xxh1280"), std::string::npos);
  EXPECT_NE(none.error().message().find("xxh128 xxh3"), std::string::npos);
  EXPECT_EQ(open("").error().code(), Errc::kUnsupported);
  EXPECT_EQ(*open(std::string(246, 'x') + " md5 none"), ChecksumKind::kMd5);
  EXPECT_EQ(open(std::string(260, 'x') + " md5").error().code(),
            Errc::kProtocol);  // rsync's own bound is 255
}

TEST(PullSession, WhatIsChosenExplicitlyIsNotNegotiated) {
  PullConfig config = FakeServer::bare_config();
  config.checksum = ChecksumKind::kMd5;
  config.compression = CompressionKind::kZlibx;
  FakeServer server(config);
  server.sent();
  ASSERT_TRUE(server.send(Wire().le32(32).varint(0x1fe).le32(7)).ok());
  EXPECT_TRUE(server.established);
  EXPECT_EQ(server.sent(),
            Wire().data(std::string(4, '\0')).text());  // no strings, just the empty filter list
  EXPECT_EQ(server.session->checksum(), ChecksumKind::kMd5);
}

TEST(PullSession, OlderServersGetNoStrings) {
  FakeServer server;
  server.sent();
  ASSERT_TRUE(server.send(Wire().le32(31)).ok());
  EXPECT_EQ(server.sent(), "");  // protocol 31 may or may not negotiate
  ASSERT_TRUE(server.send(Wire().u8(0x3a).le32(7)).ok());
  EXPECT_EQ(server.sent(), Wire().data(std::string(4, '\0')).text());
  EXPECT_EQ(server.session->checksum(), ChecksumKind::kMd5);
  EXPECT_EQ(server.session->protocol(), 31);
  PullConfig config = FakeServer::bare_config();
  config.compression = CompressionKind::kZstd;
  FakeServer zstd(config);
  ASSERT_TRUE(zstd.send(Wire().le32(31).u8(0x3a).le32(7)).ok());
  EXPECT_EQ(code_of(zstd.send(Wire().data("x"))), Errc::kUnsupported);
}

TEST(PullSession, ServersThatAreNotWhatTheySay) {
  const auto error = [](const std::string& bytes, PullConfig config = FakeServer::bare_config()) {
    FakeServer server(std::move(config));
    return code_of(server.send(bytes));
  };
  EXPECT_EQ(error(Wire().le32(29).text()), Errc::kUnsupported);
  EXPECT_EQ(error("Welcome to this host\n"), Errc::kProtocol);
  EXPECT_EQ(error(Wire().le32(32).varint(0x1ff).text()), Errc::kProtocol);  // an incremental list
  PullConfig fast = FakeServer::bare_config();
  fast.taken_for.emplace();
  EXPECT_EQ(error(Wire().le32(30).text(), fast), Errc::kUnsupported);
  // A new server that does not take 'v' refuses an option, and will say so.
  FakeServer refusing(fast);
  ASSERT_TRUE(refusing.send(Wire().le32(32).u8(0x1a).le32(1)).ok());
  const auto ended =
      refusing.send(Wire()
                        .frame(MuxTag::kError, "The server is configured to refuse --acls (-A)\n")
                        .number(MuxTag::kErrorExit, 4));
  EXPECT_EQ(code_of(ended), Errc::kUnsupported);
  EXPECT_NE(ended.error().message().find("--acls"), std::string::npos);
}

TEST(PullSession, AFirstRequestGoesOutWithTheNamesToList) {
  PullConfig config = FakeServer::bare_config();
  config.paths = {"a"};
  config.taken_for.emplace();
  config.first_request = {.ndx = 0};
  FakeServer server(config);
  const std::string whole_file = Wire().u8(1).le16(0x8000).raw(std::string(16, '\0')).text();
  EXPECT_TRUE(server.sent().ends_with(Wire().data(std::string("\0\0\0\0a\0\0", 7) + whole_file).text()));
  ASSERT_TRUE(server.send(FakeServer::opening_and_list()).ok());
  MemorySink first;
  MemorySink second;
  server.session->request_file(0, {}, first);
  EXPECT_EQ(server.sent(), "");
  server.session->request_file(1, {}, second);
  EXPECT_EQ(server.sent(), Wire().data(whole_file).text());
  ASSERT_TRUE(server.send(Wire().data(FakeServer::reply(1, "one") + FakeServer::reply(1, "two"))).ok());
  EXPECT_EQ(first.data, "one");
  EXPECT_EQ(second.data, "two");
}

TEST(PullSession, DaemonsOfAllAges) {
  PullConfig config = FakeServer::bare_config();
  config.peer = PeerKind::kDaemon;
  config.module = "m";
  config.user = "u";
  config.password = "p";
  // Before 3.2.7 no digests are named: MD5. The strings wait for the flags.
  FakeServer old(config);
  EXPECT_EQ(old.sent(), "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\nm\n");
  ASSERT_TRUE(old.send("@RSYNCD: 31.0\nmotd line\n\n@RSYNCD: AUTHREQD challenge\n").ok());
  std::string arguments = old.sent();
  const std::string_view response = "u D1j1YkMSgZygokGFV/sAVA\n";
  EXPECT_TRUE(arguments.starts_with(response));
  EXPECT_EQ(old.messages.size(), 2u);
  ASSERT_TRUE(old.send("@RSYNCD: OK\n").ok());
  EXPECT_EQ(old.sent(), "");
  arguments.erase(0, response.size());
  EXPECT_TRUE(
      arguments.starts_with(std::string("--server\0--sender\0-logDtpre.LsfxCIvu\0--numeric-ids\0", 51)));
  EXPECT_TRUE(arguments.ends_with(std::string(".\0m/\0\0", 6)));
  // Since then everything goes out with the arguments.
  FakeServer recent(config);
  recent.sent();
  ASSERT_TRUE(recent.send("@RSYNCD: 32.0 sha512 md5\n@RSYNCD: OK\n").ok());
  EXPECT_TRUE(recent.sent().ends_with(
      Wire().vstring("xxh128 xxh3 xxh64 md5 md4 sha1").data(std::string(4, '\0')).text()));
  FakeServer refused(config);
  EXPECT_EQ(
      code_of(refused.send("@RSYNCD: 32.0 md5\n@ERROR: max connections (1) reached -- try again later\n")),
      Errc::kRefused);
  FakeServer over(config);
  EXPECT_EQ(code_of(over.send("@RSYNCD: 32.0 md5\n" + std::string(70'000, 'x'))), Errc::kLimit);
  FakeServer endless(config);
  std::string lines = "@RSYNCD: 32.0 md5\n";
  for (int i = 0; i < 10'001; ++i) lines += "x\n";
  EXPECT_EQ(code_of(endless.send(lines)), Errc::kLimit);
  FakeServer web(config);
  EXPECT_EQ(code_of(web.send("HTTP/1.1 400 Bad Request\r\n")), Errc::kProtocol);
}

TEST(PullSession, FilesFromIsFramedSinceProtocol31) {
  PullConfig config = FakeServer::bare_config();
  config.paths = {"a/", "b"};
  const std::string names("a/\0b\0\0", 6);
  for (const int protocol : {30, 31, 32}) {
    config.max_protocol = protocol;
    FakeServer server(config);
    ASSERT_TRUE(server.send(Wire().le32(protocol)).ok());
    server.sent();
    ASSERT_TRUE(server.send(Wire().varint(protocol == 32 ? 0x1fe : 0x3a)).ok());
    if (protocol == 32) continue;  // sent with the version already
    const std::string zeros(4, '\0');
    EXPECT_EQ(server.sent(),
              protocol == 30 ? Wire().data(zeros).raw(names).text() : Wire().data(zeros + names).text());
  }
}

TEST(PullSession, XattrAnswersAreChecked) {
  PullConfig config = FakeServer::bare_config();
  config.xattrs = true;
  const std::string list = plain_entry("a") +
                           Wire()
                               .varint(0)
                               .varint(2)
                               .varint(7)
                               .varint(33)
                               .raw(std::string("user.b\0", 7))
                               .raw(std::string(16, 'd'))
                               .varint(7)
                               .varint(1)
                               .raw(std::string("user.c\0x", 8))
                               .text() +
                           end_of_list();
  const auto answer = [&](const std::string& reply) {
    PullLimits limits;
    limits.max_xattr_value_bytes = 1000;
    FakeServer server(config, limits);
    EXPECT_TRUE(server.send(FakeServer::opening()).ok());
    EXPECT_TRUE(server.send(Wire().data(list)).ok());
    server.sent();
    EXPECT_TRUE(server.session->request_xattrs(0));
    EXPECT_EQ(server.sent(), Wire().data(Wire().u8(1).le16(0x100).varint(1).u8(0).text()).text());
    const auto sent = server.send(Wire().data(Wire().u8(1).le16(0x100).raw(reply).text()));
    if (sent.ok()) {
      EXPECT_EQ(server.xattrs.size(), 1u);
      EXPECT_EQ(server.session->unanswered(), 0u);
    }
    return code_of(sent);
  };
  EXPECT_EQ(answer(Wire().varint(1).varint(40).raw(std::string(40, 'v')).u8(0).text()), Errc::kUsage);
  EXPECT_EQ(answer(Wire().u8(0).text()), Errc::kUsage);  // could not be read again
  EXPECT_EQ(answer(Wire().varint(1).varint(0).u8(0).text()), Errc::kUsage);
  EXPECT_EQ(answer(Wire().varint(3).varint(1).raw("x").text()), Errc::kProtocol);
  EXPECT_EQ(answer(Wire().varint(-1).varint(1).raw("x").text()), Errc::kProtocol);
  EXPECT_EQ(answer(Wire().varint(1).varint(1001).text()), Errc::kLimit);
  EXPECT_EQ(answer(Wire().varint(1).varint(-1).text()), Errc::kLimit);
  EXPECT_EQ(
      answer(Wire().varint(2).varint(1).raw("x").varint(-1).varint(1).raw("y").varint(1).varint(1).text()),
      Errc::kProtocol);  // not asked for: its value was listed
  EXPECT_EQ(answer(Wire().varint(1).varint(1).raw("x").varint(0x7fffffff).varint(1).raw("y").text()),
            Errc::kProtocol);
}

TEST(ModuleList, IsBoundedInAll) {
  ModuleListSession session;
  const std::string line = "m\t" + std::string(60'000, 'c') + "\n";
  ASSERT_TRUE(session.receive(bytes_of("@RSYNCD: 32.0 md5\n" + line)).ok());
  Result<void> received;
  for (int i = 0; i < 1000 && received.ok(); ++i) received = session.receive(bytes_of(line));
  EXPECT_EQ(code_of(received), Errc::kLimit);
  EXPECT_GT(session.modules().size(), 100u);
}

TEST(PullSession, OfferedCompressionsAreOurs) {
  PullConfig config = FakeServer::bare_config();
  config.compression = CompressionKind::kZstd;
  FakeServer server(config);
  server.sent();
  ASSERT_TRUE(server.send(Wire().le32(32)).ok());
  EXPECT_TRUE(server.sent().starts_with(
      Wire().vstring("xxh128 xxh3 xxh64 md5 md4 sha1").vstring("zstd zlibx").text()));
}

TEST(PullSession, XattrAnswersAreBoundedInAll) {
  PullConfig config = FakeServer::bare_config();
  config.xattrs = true;
  Wire set;
  set.varint(0).varint(3);
  for (const char* name : {"user.a", "user.b", "user.c"})
    set.varint(7).varint(400).raw(name).u8(0).raw(std::string(16, 'd'));
  PullLimits limits;
  limits.max_xattr_answer_bytes = 1300;
  FakeServer server(config, limits);
  ASSERT_TRUE(server.send(FakeServer::opening()).ok());
  ASSERT_TRUE(server.send(Wire().data(plain_entry("a") + set.text() + end_of_list())).ok());
  EXPECT_TRUE(server.session->request_xattrs(0));
  // Each has grown since it was listed, to what one alone may have.
  const std::string grown = Wire().varint(1).varint(600).raw(std::string(600, 'v')).text();
  ASSERT_TRUE(server.send(Wire().data(Wire().u8(1).le16(0x100).raw(grown + grown).text())).ok());
  EXPECT_EQ(code_of(server.send(Wire().data(grown))), Errc::kLimit);
}

TEST(Arguments, PathsAreSafeFromTheDaemonsExpansion) {
  EXPECT_EQ(daemon_path("m", ""), "m/");
  EXPECT_EQ(daemon_path("m", "a/b c"), "m/a/b c/");
  EXPECT_EQ(daemon_path("m", "back\\slash"), "m/back\\slash/");  // literal where nothing is a wildcard
  EXPECT_EQ(daemon_path("m", "star*\\"), "m/star\\*\\\\/");
  EXPECT_EQ(daemon_path("m", "[a]/b?"), "m/\\[a]/b\\?/");
  EXPECT_EQ(daemon_path("m", "x m/y"), "m/x[ ]m/y/");  // else cut at " m/"
  EXPECT_EQ(daemon_path("m", "-x"), "m/./-x/");
  EXPECT_EQ(clean_root("/"), "/");
  EXPECT_EQ(clean_root("//a//./b/"), "/a/b");
  EXPECT_EQ(clean_root("./"), "");
}

TEST(Arguments, Shell) {
  PullConfig config;
  config.peer = PeerKind::kShell;
  config.root = "/srv/data/";
  config.compression = CompressionKind::kZstd;
  config.compress_level = 3;
  config.io_timeout_s = 30;
  EXPECT_EQ(shell_arguments(config),
            (std::vector<std::string>{"--server", "--sender", "-lHogDtpAXrze.LsfxCIvu", "--compress-level=3",
                                      "--timeout=30", "--no-msgs2stderr", ".", "/srv/data/"}));
  config = FakeServer::bare_config();
  config.root = "-dash";
  config.paths = {"x"};
  config.messages_in_band = false;
  config.extra_args = {"--append"};
  EXPECT_EQ(shell_arguments(config),
            (std::vector<std::string>{"--server", "--sender", "-logDtpdRe.LsfxCIvu", "--numeric-ids",
                                      "--delete-missing-args", "--files-from=-", "--from0", "--append", ".",
                                      "./-dash/"}));
}

TEST(ServerText, MessagesBecomeErrors) {
  const auto code = [](std::string_view text) { return session_error(text, Errc::kCanceled).code(); };
  EXPECT_EQ(code("@ERROR: auth failed on module m"), Errc::kAuth);
  EXPECT_EQ(code("@ERROR: Unknown module 'x'"), Errc::kNotFound);
  EXPECT_EQ(code("@ERROR: access denied to m from h (1.2.3.4)"), Errc::kRefused);
  EXPECT_EQ(code("The server is configured to refuse --xattrs (-X)\n"), Errc::kUnsupported);
  EXPECT_EQ(code("ACLs are not supported on this server\n"), Errc::kUnsupported);
  EXPECT_EQ(code("extended attributes are not supported on this server\n"), Errc::kUnsupported);
  EXPECT_EQ(code("rsync: on remote machine: --foo: unknown option"), Errc::kUnsupported);
  EXPECT_EQ(code("rsync: [sender] change_dir \"/x\" failed: No such file or directory (2)\n"),
            Errc::kNotFound);
  EXPECT_EQ(code("rsync: link_stat \"/x\" failed: Not a directory (20)"), Errc::kNotDirectory);
  EXPECT_EQ(code("rsync: opendir \"/unknown option\" failed: Permission denied (13)"), Errc::kPermission);
  EXPECT_EQ(code("rsync: read error: Input/output error (5)"), Errc::kOs);
  EXPECT_EQ(code("[sender] io timeout after 6 seconds -- exiting"), Errc::kTimedOut);
  EXPECT_EQ(code("something else"), Errc::kCanceled);
  EXPECT_EQ(session_error("a\nb\x1b[31m", Errc::kOs).message(), "a\\012b\\033[31m");
  EXPECT_EQ(trailing_errno("failed: Permission denied (13)\n"), 13);
  EXPECT_EQ(trailing_errno("name (99999999999)"), 0);
  EXPECT_EQ(trailing_errno("(code 23)"), 0);
  EXPECT_EQ(trailing_errno(")"), 0);
  EXPECT_EQ(file_error("file has vanished: \"/x\"").os_errno(), ENOENT);
  EXPECT_EQ(file_error("skipped diminished file: x").code(), Errc::kChanged);
  EXPECT_EQ(file_error("send_files failed to open \"x\": Too many levels of symbolic links (40)").code(),
            Errc::kChanged);
  EXPECT_EQ(file_error("").code(), Errc::kOs);
}

}  // namespace
}  // namespace rsyncfs
