// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/engine/engine_rig.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "io/base/log.h"
#include "tests/support/wait.h"

namespace rsyncfs {

namespace {

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  return std::move(result).value();
}

constexpr std::chrono::seconds kAnswerLimit{60};  // a request that is not answered at all is a defect

}  // namespace

EngineRig::EngineRig(const std::string& source, const std::string& store_directory, SyncerOptions options) {
  if (std::getenv("RSYNCFS_TEST_LOG") != nullptr) log_to("", LogLevel::kDebug);
  const char* io = std::getenv("RSYNCFS_TEST_IO");
  loop_ = must(make_loop(must(parse_io_choice(io == nullptr ? "auto" : io)))).loop;
  ReplicaOptions store;
  store.directory = store_directory;
  store.source = source;
  replica_ = must(Replica::open(store));
  executor_ = std::make_unique<Executor>(2);
  options.source = must(parse_source(source));
  // Tests of something else say themselves when there is a list.
  if (options.poll.mode == PollOptions::Mode::kAuto) options.poll.mode = PollOptions::Mode::kOff;
  // Each tree as if it were too large for one list.
  if (std::getenv("RSYNCFS_TEST_PAGES") != nullptr) options.max_whole_tree = 0;
  syncer_ = Syncer::create(*loop_, *executor_, *replica_, std::move(options), *this);
  thread_ = std::thread([this] { loop_->run(); });
}

EngineRig::~EngineRig() {
  std::promise<void> over;
  syncer_->shut_down([&] { over.set_value(); });
  over.get_future().wait();
  loop_->stop();
  thread_.join();
  executor_.reset();  // its tasks post to the loop
  syncer_.reset();
  loop_.reset();
  replica_.reset();
}

template <class T, class Call>
Result<T> EngineRig::wait(Call call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  call([promise](Result<T> result) { promise->set_value(std::move(result)); });
  if (future.wait_for(kAnswerLimit) != std::future_status::ready)
    throw std::runtime_error("no answer at all");
  return future.get();
}

Result<void> EngineRig::start() {
  return wait<void>([this](Done<void> done) { syncer_->start(std::move(done)); });
}

Result<void> EngineRig::refresh(NodeId directory) {
  return wait<void>([&](Done<void> done) { syncer_->refresh(directory, std::move(done)); });
}

Result<void> EngineRig::list(NodeId directory) {
  return wait<void>([&](Done<void> done) { syncer_->list_directory(directory, std::move(done)); });
}

Result<Node> EngineRig::find(const std::string& path) {
  NodeId node = kRootNode;
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const auto directory = replica_->node(node);
    if (!directory) return directory.error();
    if (!syncer_->may_answer_listing(*directory)) {
      if (const auto listed = list(node); !listed) return listed.error();
    }
    const auto child = replica_->lookup(node, path.substr(begin, end - begin));
    if (!child) return child.error();
    node = child->id;
    begin = end + 1;
  }
  return replica_->node(node);
}

Result<std::string> EngineRig::read(NodeId node, uint64_t offset, uint32_t length) {
  const auto text = [](std::span<const std::byte> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // NOLINT: bytes as text
  };
  const auto content = replica_->content(node);
  if (!content) return content.error();
  if (*content) {
    replica_->cache().note_use(node);
    if (const auto view = (*content)->view(offset, length)) {
      syncer_->note_read(node);
      return text(*view);
    }
  }
  const auto bytes =
      wait<ReadBytes>([&](Done<ReadBytes> done) { syncer_->read(node, offset, length, std::move(done)); });
  if (!bytes) return bytes.error();
  return text(bytes->bytes);
}

Result<std::string> EngineRig::read_all(const std::string& path) {
  const auto node = find(path);
  if (!node) return node.error();
  constexpr uint32_t kPiece = 128 * 1024;
  std::string out;
  while (true) {
    auto piece = read(node->id, out.size(), kPiece);
    if (!piece) return piece.error();
    out += *piece;
    if (piece->size() < kPiece) return out;
  }
}

Result<void> EngineRig::hydrate(NodeId node) {
  return wait<void>([&](Done<void> done) { syncer_->hydrate(node, std::move(done)); });
}

Result<void> EngineRig::fetch_xattrs(NodeId node) {
  return wait<void>([&](Done<void> done) { syncer_->fetch_xattrs(node, std::move(done)); });
}

Result<void> EngineRig::flush(std::optional<NodeId> below) {
  return wait<void>([&](Done<void> done) { syncer_->flush(below, std::move(done)); });
}

void EngineRig::resume() {
  static_cast<void>(wait<void>([&](Done<void> done) { syncer_->resume(std::move(done)); }));
}

Result<std::pair<Node, std::string>> EngineRig::parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  auto parent = find(slash == std::string::npos ? "" : path.substr(0, slash));
  if (!parent) return parent.error();
  if (!syncer_->may_answer_listing(*parent)) {
    if (const auto listed = list(parent->id); !listed) return listed.error();
  }
  return std::pair(*parent, slash == std::string::npos ? path : path.substr(slash + 1));
}

Result<Node> EngineRig::write(const std::string& path, std::string_view contents) {
  auto place = parent_of(path);
  if (!place) return place.error();
  auto& [parent, name] = *place;
  auto& local = replica_->local();
  auto node = replica_->lookup(parent.id, name);
  if (!node && node.error().code() == Errc::kNotFound) {
    NewNode made;
    made.mode = S_IFREG | 0644;
    made.uid = ::getuid();
    made.gid = ::getgid();
    node = local.create(parent.id, name, made);
  } else if (node) {
    node = local.resize(node->id, 0);
  }
  if (!node) return node;
  if (!contents.empty()) node = local.write(node->id, 0, std::as_bytes(std::span(contents)));
  if (node) syncer_->note_change(node->id);
  return node;
}

Result<Node> EngineRig::make_directory(const std::string& path) {
  auto place = parent_of(path);
  if (!place) return place.error();
  NewNode made;
  made.mode = S_IFDIR | 0755;
  made.uid = ::getuid();
  made.gid = ::getgid();
  auto node = replica_->local().create(place->first.id, place->second, made);
  if (node) syncer_->note_change(node->id);
  return node;
}

Result<void> EngineRig::rename(const std::string& from, const std::string& to) {
  auto old_place = parent_of(from);
  if (!old_place) return old_place.error();
  auto place = parent_of(to);
  if (!place) return place.error();
  const auto done = replica_->local().rename(old_place->first.id, old_place->second, place->first.id,
                                             place->second, RenameMode::kReplace);
  if (!done) return done.error();
  syncer_->note_change(done->node.id);
  return {};
}

Result<void> EngineRig::remove(const std::string& path) {
  auto place = parent_of(path);
  if (!place) return place.error();
  auto& local = replica_->local();
  const auto node = replica_->lookup(place->first.id, place->second);
  if (!node) return node.error();
  const auto done = S_ISDIR(node->attr.mode) ? local.remove_directory(place->first.id, place->second)
                                             : local.unlink(place->first.id, place->second);
  if (!done) return done.error();
  syncer_->note_change(node->id);
  return {};
}

SyncerStatus EngineRig::status() {
  std::promise<SyncerStatus> promise;
  syncer_->status([&](SyncerStatus status) { promise.set_value(std::move(status)); });
  return promise.get_future().get();
}

bool EngineRig::wait_for_tree() {
  return support::wait_until([this] { return status().tree_listed; }, kAnswerLimit);
}

std::vector<NameChange> EngineRig::take_changes() {
  const std::lock_guard lock(mutex_);
  return std::exchange(changes_, {});
}

void EngineRig::on_changes(std::vector<NameChange> changes) {
  const std::lock_guard lock(mutex_);
  changes_.insert(changes_.end(), changes.begin(), changes.end());
}

void EngineRig::on_content_changed(NodeId /*node*/) {}

void EngineRig::on_read_only(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  read_only_reason_ = reason;
}

std::string EngineRig::read_only_reason() {
  const std::lock_guard lock(mutex_);
  return read_only_reason_;
}

}  // namespace rsyncfs
