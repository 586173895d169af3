// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that changes bytes and makes changes durable.
#include <algorithm>
#include <utility>
#include <vector>

#include "fs/tree/tree.h"
#include "io/base/log.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

constexpr size_t kCopyBufferBytes = 1024 * 1024;

}  // namespace

// The kernel holds the node, so that it is unknown means that it is gone.
Error Tree::of_node(const Error& error) {
  return error.code() == Errc::kNotFound ? Error(Errc::kVanished, error.message()) : error;
}

Result<uint32_t> Tree::lost_by_writing(NodeId file, const Caller& caller) const {
  if (caller.is_privileged()) return 0U;
  const Result<Node> node = present_node(file);
  if (!node) return node.error();
  return lost_by_writing(*node, caller);
}

void Tree::bytes_changed(NodeId file, bool beyond_what_was_asked) {
  syncer_.note_change(file);
  if (beyond_what_was_asked && options_.events != nullptr) options_.events->on_content_changed(file);
}

void Tree::conflict_copy_made(const NameChange& change) {
  log_warn("conflict: a file was written to that the source has changed since it was opened; this is " +
           escape_control(change.name) + " now");
  syncer_.note_change(change.node);
  if (options_.events != nullptr) options_.events->on_changes({change});
}

void Tree::truncate(NodeId file, const Caller& caller, Done<void> done) {
  const AnswerGate::Section section(gate_);
  const Result<uint32_t> clear = lost_by_writing(file, caller);
  if (!clear) return done(clear.error());
  const Result<Node> resized = replica_.local().resize(file, 0, *clear);
  if (!resized) return done(of_node(resized.error()));
  bytes_changed(file, *clear != 0);
  done({});
}

// An append counts on the kernel's idea of the size, which is older than ours when the source's version of an
// unread file has grown.
void Tree::write(NodeId file, uint64_t offset, std::span<const std::byte> data, bool append,
                 const Caller& caller, Done<size_t> done) {
  const AnswerGate::Section section(gate_);
  uint64_t at = offset;
  uint32_t clear = 0;
  if (append || !caller.is_privileged()) {
    const Result<Node> node = present_node(file);
    if (!node) return done(node.error());
    if (append) at = std::max(offset, node->attr.size);
    clear = lost_by_writing(*node, caller);
  }
  const Result<Node> written =
      with_room(data.size(), [&] { return replica_.local().write(file, at, data, clear); });
  if (!written) return done(of_node(written.error()));
  bytes_changed(file, at != offset || clear != 0);
  done(data.size());
}

void Tree::allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length, const Caller& caller,
                    Done<void> done) {
  const AnswerGate::Section section(gate_);
  const Result<uint32_t> clear = lost_by_writing(file, caller);
  if (!clear) return done(clear.error());
  const Result<Node> allocated =
      with_room(length, [&] { return replica_.local().allocate(file, mode, offset, length, *clear); });
  if (!allocated) return done(of_node(allocated.error()));
  bytes_changed(file, *clear != 0);
  done({});
}

// What is here of the bytes from `offset` on; empty at the end.
Result<ReadBytes> Tree::bytes_here(NodeId file, uint64_t offset, size_t length) {
  const Error away(Errc::kUnsupported, "the bytes are not here");
  if (const auto dirty = replica_.local().dirty(file)) {
    const uint64_t size = dirty->size();
    if (offset >= size) return ReadBytes{};
    const size_t wanted = std::min<uint64_t>(length, size - offset);
    const std::shared_ptr<std::byte[]> buffer(new std::byte[wanted]);
    std::vector<ExtentSet::Range> missing;
    const Result<size_t> got = dirty->read(offset, std::span(buffer.get(), wanted), missing);
    if (!got) return got.error();
    if (!missing.empty()) return away;
    return ReadBytes{buffer, std::span<const std::byte>(buffer.get(), *got)};
  }
  Result<std::shared_ptr<const Content>> content = replica_.content(file);
  if (!content) return content.error();
  if (*content != nullptr) {
    const auto bytes = (*content)->view(offset, length);
    if (!bytes) return away;
    return ReadBytes{std::move(*content), *bytes};
  }
  const Result<Node> node = regular_node(file);
  if (!node) return node.error();
  if (offset < node->attr.size) return away;
  return ReadBytes{};
}

Result<uint64_t> Tree::copy_now(NodeId from, uint64_t from_offset, NodeId to, uint64_t to_offset,
                                uint64_t length, uint32_t clear) {
  const uint64_t wanted = std::min(length, kMaxCopyBytes);
  uint64_t copied = 0;
  while (copied < wanted) {
    const size_t step = std::min<uint64_t>(wanted - copied, kCopyBufferBytes);
    const Result<ReadBytes> bytes = bytes_here(from, from_offset + copied, step);
    if (!bytes) return copied > 0 ? Result<uint64_t>(copied) : bytes.error();
    if (bytes->bytes.empty()) break;
    const Result<Node> written = replica_.local().write(to, to_offset + copied, bytes->bytes, clear);
    if (!written) return copied > 0 ? Result<uint64_t>(copied) : of_node(written.error());
    copied += bytes->bytes.size();
  }
  return copied;
}

void Tree::copy(NodeId from, uint64_t from_offset, NodeId to, uint64_t to_offset, uint64_t length,
                const Caller& caller, Done<uint64_t> done) {
  const AnswerGate::Section section(gate_);
  const Result<uint32_t> clear = lost_by_writing(to, caller);
  if (!clear) return done(clear.error());
  Result<uint64_t> copied = copy_now(from, from_offset, to, to_offset, length, *clear);
  if (copied && *copied > 0) bytes_changed(to, *clear != 0);
  done(std::move(copied));
}

RequestId Tree::sync(NodeId node, Done<void> done) {
  const RequestId chain = chains_.begin();
  syncs_.post([this, node, chain, done = std::move(done)]() mutable {
    const Result<void> synced = replica_.local().sync(node);
    if (!synced || !options_.fsync_remote) {
      chains_.end(chain);
      done(synced ? Result<void>() : of_node(synced.error()));
      return;
    }
    flush(node, chain, std::move(done));
  });
  return chain;
}

void Tree::flush(NodeId node, RequestId chain, Done<void> done) {
  const uint64_t number = chains_.next(chain);
  if (number == 0) {
    chains_.end(chain);
    return done(Error(Errc::kCanceled, "interrupted"));
  }
  const RequestId wait =
      syncer_.flush(node, [this, chain, done = std::move(done)](Result<void> flushed) mutable {
        chains_.end(chain);
        done(std::move(flushed));
      });
  chains_.waiting(chain, number, wait);
}

}  // namespace rsyncfs
