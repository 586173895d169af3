// SPDX-License-Identifier: GPL-3.0-or-later
// A push session against a server that never was: for what a real one does only by accident, or never.
#include "sync/rsync/push_session.h"

#include <sys/uio.h>

#include <array>
#include <functional>
#include <memory>

#include <gtest/gtest.h>

#include "tests/rsync/fake_server.h"

namespace rsyncfs {
namespace {

constexpr int kAsk = kItemTransfer;
constexpr uint8_t kDone = 0;

PushEntry entry_of(std::string path, uint32_t mode) {
  PushEntry entry;
  entry.path = std::move(path);
  entry.mode = mode;
  entry.size = 100;
  return entry;
}

// A pipe to a fake server of protocol 32, to which files "a" (index 0), "b" (1) and "c" (2) are pushed.
class FakeReceiver : public PushEvents {
 public:
  static PushConfig files_config() {
    PushConfig config;
    config.peer = PeerKind::kShell;
    for (const char* name : {"a", "b", "c"}) config.entries.push_back(entry_of(name, S_IFREG | 0644));
    return config;
  }
  explicit FakeReceiver(PushConfig config = files_config(), PushLimits limits = {})
      : session(std::move(config), *this, limits) {
    EXPECT_TRUE(send(opening()).ok());
    sent();
  }

  static std::string opening(int flags = 0x1fe) {
    return Wire().le32(32).varint(flags).vstring("xxh128 md5").le32(99).text();
  }
  Result<void> send(std::string_view bytes) { return session.receive(bytes_of(bytes)); }
  Result<void> send(const Wire& wire) { return send(wire.text()); }
  Result<void> say(const Wire& data) { return send(Wire().data(data.text())); }
  // The frames that went out since: DATA joined, messages by tag.
  std::string sent() {
    struct Collect : MuxHandler {
      Result<void> on_mux_data(std::span<const std::byte> bytes) override {
        data += text_of(bytes);
        return {};
      }
      Result<void> on_mux_message(MuxTag tag, std::span<const std::byte> payload) override {
        if (tag != MuxTag::kData)
          data += "<" + std::to_string(static_cast<int>(tag)) + text_of(payload) + ">";
        return {};
      }
      std::string data;
    } collect;
    std::string out;
    for (std::array<iovec, 8> parts{}; !session.output().empty();
         session.output().consume(parts[0].iov_len)) {
      session.output().gather(parts);
      out.append(static_cast<const char*>(parts[0].iov_base), parts[0].iov_len);
    }
    if (!opened_) {
      opened_ = true;
      return out;
    }
    MuxReader mux(65536, kMaxMuxFrame);
    EXPECT_TRUE(mux.feed(bytes_of(out), collect).ok());
    return collect.data;
  }
  // A request for entry `previous + difference` without sums.
  static Wire request(int difference, int iflags = kAsk) {
    return Wire()
        .u8(static_cast<unsigned>(difference))
        .le16(static_cast<unsigned>(iflags))
        .raw(std::string(16, '\0'));
  }

  PushSession session;
  std::vector<PushRequest> requests;
  std::vector<size_t> items;
  std::vector<size_t> succeeded;
  std::vector<size_t> declined;
  bool finished = false;

 private:
  void on_request(PushRequest request) override { requests.push_back(std::move(request)); }
  void on_item(size_t index, uint16_t /*iflags*/, std::string_view /*xname*/) override {
    items.push_back(index);
  }
  void on_success(size_t index) override { succeeded.push_back(index); }
  void on_declined(size_t index, uint16_t /*iflags*/) override { declined.push_back(index); }
  void on_finished() override { finished = true; }
  bool opened_ = false;
};

std::string whole_answer(int difference, std::string_view contents) {
  Digest digest(ChecksumKind::kXxh128);
  digest.update(bytes_of(contents));
  Wire wire = FakeReceiver::request(difference);
  if (!contents.empty()) wire.le32(static_cast<int64_t>(contents.size())).raw(contents);
  return wire.le32(0).raw(text_of(digest.finish().span())).text();
}
void answer(PushSession& session, size_t index, std::string_view contents) {
  Digest digest(ChecksumKind::kXxh128);
  digest.update(bytes_of(contents));
  session.begin_file(index, SumHead());
  session.literal(bytes_of(contents));
  session.end_file(digest.finish());
}

TEST(PushSession, SharedLiteralsSayTheSame) {
  const std::string contents(100'000, 'x');
  const auto owner = std::make_shared<const std::string>(contents);
  FakeReceiver copied;
  FakeReceiver shared;
  for (FakeReceiver* server : {&copied, &shared}) ASSERT_TRUE(server->say(FakeReceiver::request(1)).ok());
  Digest digest(ChecksumKind::kXxh128);
  digest.update(bytes_of(contents));
  answer(copied.session, 0, contents);
  shared.session.begin_file(0, SumHead());
  shared.session.literal({owner, bytes_of(*owner)});
  EXPECT_EQ(owner.use_count(), 5) << "one for each piece, and no copy";
  shared.session.end_file(digest.finish());
  EXPECT_EQ(shared.sent(), copied.sent());
  EXPECT_EQ(owner.use_count(), 1);
}

Errc failure_of(const Wire& said) {
  FakeReceiver server;
  const auto result = server.say(said);
  EXPECT_FALSE(result.ok());
  // And stays it.
  EXPECT_FALSE(server.say(Wire()).ok());
  EXPECT_FALSE(server.session.end_of_input().ok());
  return result.ok() ? Errc::kOs : result.error().code();
}

TEST(PushSession, EchoesKeepTheirOrder) {
  FakeReceiver server;
  ASSERT_TRUE(server.say(Wire().raw(FakeReceiver::request(1).text()).u8(1).le16(kItemTime).u8(kDone)).ok());
  EXPECT_EQ(server.items, (std::vector<size_t>{1}));
  EXPECT_EQ(server.sent(), "");  // all waits for the answer
  EXPECT_EQ(server.session.unanswered(), 1u);
  answer(server.session, 0, "data");
  EXPECT_EQ(server.sent(), whole_answer(1, "data") + Wire().u8(1).le16(kItemTime).u8(kDone).text());
}

TEST(PushSession, ADeclinedRequestHoldsNothingUp) {
  FakeReceiver server;
  ASSERT_TRUE(server
                  .say(Wire()
                           .raw(FakeReceiver::request(1).text())
                           .raw(FakeReceiver::request(1).text())
                           .raw(FakeReceiver::request(1).text())
                           .u8(kDone))
                  .ok());
  server.session.decline(1);
  EXPECT_EQ(server.sent(), "<102" + Wire().le32(1).text() + ">");
  server.session.decline(0);
  server.session.begin_file(2, SumHead());
  server.session.end_file([] {
    Digest digest(ChecksumKind::kXxh128);
    return digest.finish();
  }());
  EXPECT_EQ(server.sent(),
            "<102" + Wire().le32(0).text() + ">" + whole_answer(3, "") + Wire().u8(kDone).text());
  EXPECT_EQ(server.session.unanswered(), 0u);
}

TEST(PushSession, EndsInOrder) {
  FakeReceiver server;
  ASSERT_TRUE(server.say(Wire().u8(kDone).u8(kDone).u8(kDone).u8(kDone)).ok());
  EXPECT_EQ(server.sent(), std::string(4, '\0'));
  EXPECT_FALSE(server.finished);
  // Counts of what was deleted may come before any of them.
  ASSERT_TRUE(
      server.say(Wire().u8(0xff).u8(2).varint(1).varint(0).varint(70'000).varint(0).varint(0).u8(kDone))
          .ok());
  EXPECT_TRUE(server.finished);
  EXPECT_EQ(server.session.state(), PushState::kEnded);
  EXPECT_EQ(server.sent(), "");
  // Only how it sums up.
  EXPECT_TRUE(server.send(Wire().frame(MuxTag::kError, "rsync error: some files (code 23)")).ok());
  EXPECT_TRUE(server.send(Wire().number(MuxTag::kErrorExit, 23)).ok());
  EXPECT_TRUE(server.session.end_of_input().ok());
}

TEST(PushSession, EndsTooEarly) {
  FakeReceiver server;
  ASSERT_TRUE(server.say(FakeReceiver::request(1)).ok());
  ASSERT_TRUE(server.say(Wire().u8(kDone).u8(kDone).u8(kDone).u8(kDone)).ok());
  EXPECT_EQ(server.say(Wire().u8(kDone)).error().code(), Errc::kProtocol);
  FakeReceiver closed;
  EXPECT_EQ(closed.session.end_of_input().error().code(), Errc::kDisconnected);
}

TEST(PushSession, NonsenseIsRefused) {
  EXPECT_EQ(failure_of(FakeReceiver::request(4)), Errc::kProtocol);  // no such entry
  EXPECT_EQ(failure_of(Wire().u8(0xff).u8(1)), Errc::kProtocol);     // NDX_FLIST_EOF
  EXPECT_EQ(failure_of(Wire().u8(0xff).u8(101)), Errc::kProtocol);   // a directory's list
  const auto head = [](int64_t count, int64_t length, int64_t strong, int64_t remainder) {
    return Wire().u8(1).le16(kAsk).le32(count).le32(length).le32(strong).le32(remainder);
  };
  EXPECT_EQ(failure_of(head(-1, 700, 2, 0)), Errc::kProtocol);
  EXPECT_EQ(failure_of(head(1, 0, 2, 0)), Errc::kProtocol);
  EXPECT_EQ(failure_of(head(1, 131073, 2, 0)), Errc::kProtocol);
  EXPECT_EQ(failure_of(head(1, 700, 17, 0)), Errc::kProtocol);
  EXPECT_EQ(failure_of(head(1, 700, 2, 701)), Errc::kProtocol);
  EXPECT_EQ(failure_of(Wire().u8(1).le16(kAsk | kItemExtraName).vstring(std::string(5000, 'x'))),
            Errc::kProtocol);
  EXPECT_EQ(failure_of(Wire().u8(kDone).u8(kDone).raw(FakeReceiver::request(1).text())), Errc::kProtocol);
  EXPECT_EQ(failure_of(Wire().u8(kDone).u8(kDone).u8(kDone).u8(kDone).u8(kDone).u8(kDone)), Errc::kProtocol);
}

TEST(PushSession, MessagesThatNoReceiverSends) {
  for (const MuxTag tag : {MuxTag::kNoSend, MuxTag::kRedo, MuxTag::kStats}) {
    FakeReceiver server;
    EXPECT_EQ(server.send(Wire().number(tag, 0)).error().code(), Errc::kProtocol);
  }
  FakeReceiver beyond;
  EXPECT_EQ(beyond.send(Wire().number(MuxTag::kSuccess, 3)).error().code(), Errc::kProtocol);
  FakeReceiver negative;
  EXPECT_EQ(negative.send(Wire().number(MuxTag::kSuccess, -1)).error().code(), Errc::kProtocol);
  FakeReceiver empty;
  EXPECT_EQ(empty.send(Wire().frame(MuxTag::kSuccess, "")).error().code(), Errc::kProtocol);
  for (const std::string& path : {std::string(), std::string("\0", 1), std::string("a\0b", 3)}) {
    FakeReceiver server;
    EXPECT_EQ(server.send(Wire().frame(MuxTag::kDeleted, path)).error().code(), Errc::kProtocol);
  }
}

TEST(PushSession, ContentsAreOnlyAskedOfFiles) {
  PushConfig config;
  config.peer = PeerKind::kShell;
  config.kind = PushKind::kCreate;
  config.entries = {entry_of("d", S_IFDIR | 0755)};
  FakeReceiver server(config);
  EXPECT_EQ(server.say(FakeReceiver::request(1)).error().code(), Errc::kProtocol);
}

// A parent that was added is nobody's business.
TEST(PushSession, AddedParentsAreNotSpokenOf) {
  PushConfig config;
  config.peer = PeerKind::kShell;
  config.entries = {entry_of("d/f", S_IFREG | 0644)};
  FakeReceiver server(config);
  ASSERT_TRUE(server.say(Wire().u8(1).le16(kItemIsNew | kItemLocalChange)).ok());
  EXPECT_TRUE(server.items.empty());
  EXPECT_EQ(server.sent(), Wire().u8(1).le16(kItemIsNew | kItemLocalChange).text());
  ASSERT_TRUE(server.send(Wire().number(MuxTag::kSuccess, 0)).ok());
  ASSERT_TRUE(server.send(Wire().number(MuxTag::kSuccess, 1)).ok());
  EXPECT_EQ(server.succeeded, (std::vector<size_t>{0}));
}

TEST(PushSession, AttributesNeverSendContents) {
  PushConfig config = FakeReceiver::files_config();
  config.kind = PushKind::kAttributes;
  FakeReceiver server(config);
  ASSERT_TRUE(server.say(FakeReceiver::request(2)).ok());
  EXPECT_EQ(server.declined, (std::vector<size_t>{1}));
  EXPECT_EQ(server.sent(), "<102" + Wire().le32(1).text() + ">");
}

TEST(PushSession, XattrsAskedFor) {
  PushConfig config = FakeReceiver::files_config();
  config.xattrs = true;
  const std::string digest(16, 'd');
  // Sent in the order of their names, whatever the order given.
  config.entries[0].xattrs = {{"user.c", std::string(40, 'c'), 40, false},
                              {"user.a", std::string(33, 'a'), 33, false},
                              {"user.b", digest, 100, true}};
  FakeReceiver server(config);
  ASSERT_TRUE(server.say(Wire().u8(1).le16(kItemXattr).varint(3).varint(-2).varint(1).varint(0)).ok());
  EXPECT_EQ(server.sent(), Wire()
                               .u8(1)
                               .le16(kItemXattr)
                               .varint(1)
                               .varint(33)
                               .raw(std::string(33, 'a'))
                               .varint(2)
                               .varint(40)
                               .raw(std::string(40, 'c'))
                               .u8(0)
                               .text());
  for (const int number : {4, -1}) {
    FakeReceiver again(config);
    EXPECT_EQ(again.say(Wire().u8(1).le16(kItemXattr).varint(number)).error().code(), Errc::kProtocol);
  }
  FakeReceiver twice(config);
  EXPECT_EQ(twice.say(Wire().u8(1).le16(kItemXattr).varint(2).varint(-1).varint(1)).error().code(),
            Errc::kProtocol);
}

// A server without the 'x' capability asks for none where a link or a local copy settled the entry.
TEST(PushSession, XattrsSpared) {
  for (const bool spared : {false, true}) {
    PushConfig config = FakeReceiver::files_config();
    config.xattrs = true;
    struct Events : PushEvents {
      void on_request(PushRequest /*request*/) override {}
      void on_item(size_t /*index*/, uint16_t /*iflags*/, std::string_view /*xname*/) override { ++items; }
      void on_finished() override {}
      int items = 0;
    } events;
    PushSession session(config, events);
    ASSERT_TRUE(session.receive(bytes_of(FakeReceiver::opening(spared ? 0x1ee : 0x1fe))).ok());
    const int settled = kItemXattr | kItemExtraName | kItemLocalChange;
    Wire item = Wire().u8(1).le16(static_cast<unsigned>(settled)).vstring("x");
    ASSERT_TRUE(session.receive(bytes_of(Wire().data(item.text()).text())).ok());
    EXPECT_EQ(events.items, spared ? 1 : 0);  // else more is expected
  }
}

TEST(PushSession, TooMuchAtOnce) {
  FakeReceiver server;
  Wire many;
  many.raw(FakeReceiver::request(1).text());
  for (int i = 0; i < 100; ++i) many.u8(0xfe).u8(0x80).u8(0).u8(0).u8(0).le16(kItemTime);
  EXPECT_EQ(server.say(many).error().code(), Errc::kLimit);
}

TEST(PushSession, LastWords) {
  FakeReceiver full;
  EXPECT_TRUE(
      full.send(Wire().frame(MuxTag::kErrorXfer, "write failed on \"a\": No space left on device (28)\n"))
          .ok());
  const auto ended = full.send(Wire().number(MuxTag::kErrorExit, 11));
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code(), Errc::kOs);
  EXPECT_EQ(ended.error().os_errno(), ENOSPC);
  FakeReceiver cut;
  EXPECT_TRUE(
      cut.send(Wire().frame(MuxTag::kErrorXfer, "failed to set times on \"a\": Operation not permitted (1)"))
          .ok());
  EXPECT_EQ(cut.send(Wire().number(MuxTag::kErrorExit, 20)).error().code(), Errc::kDisconnected);
}

// It turns out that it was taken for another; or it refuses an option and is about to say so.
TEST(PushSession, OlderThanItWasTakenFor) {
  struct Events : PushEvents {
    void on_request(PushRequest /*request*/) override {}
    void on_finished() override {}
  } events;
  for (const bool tells : {false, true}) {
    PushSession session(FakeReceiver::files_config(), events);
    ASSERT_TRUE(session.receive(bytes_of(Wire().le32(32).varint(0x7e).le32(99).text())).ok());
    const Wire rest = tells ? Wire()
                                  .frame(MuxTag::kError, "The server is configured to refuse --fsync\n")
                                  .number(MuxTag::kErrorExit, 4)
                            : Wire().data(Wire().u8(kDone).text());
    const auto result = session.receive(bytes_of(rest.text()));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), Errc::kUnsupported);
    EXPECT_EQ(result.error().message().find("--fsync") != std::string::npos, tells);
  }
}

// Block sums whose seed stands where ours does not cannot be compared.
TEST(PushSession, SumsOfAnotherMaking) {
  struct Events : PushEvents {
    void on_request(PushRequest /*request*/) override {}
    void on_finished() override {}
  } events;
  for (const PushKind kind : {PushKind::kData, PushKind::kWholeData}) {
    PushConfig config = FakeReceiver::files_config();
    config.kind = kind;
    config.max_protocol = 31;
    PushSession session(config, events);
    ASSERT_TRUE(session.receive(bytes_of(Wire().le32(31).varint(0x0e).le32(99).text())).ok());
    const auto result = session.receive(bytes_of(Wire().data(FakeReceiver::request(1).text()).text()));
    EXPECT_EQ(result.ok(), kind == PushKind::kWholeData);
    if (!result.ok()) {
      EXPECT_EQ(result.error().code(), Errc::kUnsupported);
    }
  }
}

}  // namespace
}  // namespace rsyncfs
