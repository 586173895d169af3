// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that deals with bytes.
#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "fs/tree/tree.h"
#include "io/base/log.h"

namespace rsyncfs {
namespace {

// Of one read. More are needed only when the file changes meanwhile.
constexpr unsigned kMaxBaseFetches = 8;

void answer_seek(uint64_t offset, uint64_t size, SeekKind kind, uint64_t found, Done<uint64_t> done) {
  if (offset >= size || (kind == SeekKind::kData && found >= size)) return done(Error::os(ENXIO, "lseek"));
  done(found);
}

}  // namespace

// Local changes first: bytes that are found undisturbed after that are not older than the question.
RequestId Tree::read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) {
  if (const auto dirty = replica_.local().dirty(file)) {
    return read_dirty(file, *dirty, offset, length, std::move(done));
  }
  Result<std::shared_ptr<const Content>> content = replica_.content(file);
  if (content && *content != nullptr) {
    if (const auto bytes = (*content)->view(offset, length)) {
      replica_.cache().note_use(file);
      syncer_.note_read(file);
      reads_.note_hit(bytes->size());
      done(ReadBytes{std::move(*content), *bytes});
      return 0;
    }
    if (const auto settled = replica_.settle_damage(file); !settled) log_error(settled.error().message());
  }
  const Result<Node> node = regular_node(file);
  if (!node) {
    done(node.error());
    return 0;
  }
  if (offset >= node->attr.size || length == 0) {
    // Who asked was shown a longer one.
    if (const auto shown = reads_under_way_.shown(file); shown && offset < shown->size) {
      done(Error(Errc::kVanished, "a shorter version takes its place"));
      return 0;
    }
    // The kernel may keep zeros for it: then the node is that version.
    if (length != 0) static_cast<void>(replica_.note_seen(file, node->version()));
    done(ReadBytes{});
    return 0;
  }
  const uint64_t end = offset + length;
  if (const auto failed = failures_.find(file, offset, end, Clock::now())) {
    done(*failed);
    return 0;
  }
  const uint64_t promised = std::min(end, node->attr.size) - offset;
  reads_under_way_.begin(file, node->version());
  return syncer_.read(file, offset, length,
                      [this, file, offset, end, promised,
                       done = count_miss(promised, std::move(done))](Result<ReadBytes> read) mutable {
                        const AnswerGate::Section section(gate_);
                        // Of a shorter version than the file had when it was asked for: the kernel would show
                        // zeros up to the end that it knows. It asks again for what failed, and knows the
                        // size then.
                        end_waiting(file, read.ok());
                        if (read && read->bytes.size() < promised)
                          return done(Error(Errc::kVanished, "a shorter version took its place"));
                        if (!read && read.error().code() != Errc::kCanceled) {
                          failures_.add(file, offset, end, read.error(), Clock::now());
                        }
                        done(std::move(read));
                      });
}

Done<ReadBytes> Tree::count_miss(uint64_t bytes, Done<ReadBytes> done) {
  reads_.note_miss(bytes);
  return [this, began = Clock::now(), done = std::move(done)](Result<ReadBytes> read) mutable {
    if (read) reads_.miss_latency.note(Clock::now() - began);
    done(std::move(read));
  };
}

// Who asks for the file's attributes was shown the version that they were asked for with.
void Tree::end_waiting(NodeId file, bool given) {
  const auto shown = reads_under_way_.end(file, given);
  if (!shown || options_.events == nullptr) return;
  const Result<Node> now = replica_.node(file);
  if (now && now->version() == *shown) return;
  options_.events->on_changes({NameChange{NameChange::Kind::kAttributes, 0, {}, file, 0}});
}

// Of a file that was changed here there are no others.
void Tree::note_unreadable(NodeId file) {
  syncs_.post([this, file] {
    if (replica_.local().dirty(file)) return;
    log_error("the local disk cannot read a content, it will be fetched again: node " + std::to_string(file));
    if (const auto dropped = replica_.drop_content(file); !dropped) log_warn(dropped.error().message());
  });
}

struct Tree::Composition {
  NodeId file = 0;
  uint64_t offset = 0;
  size_t length = 0;
  std::shared_ptr<std::byte[]> buffer;
  RequestId chain = 0;
  unsigned fetches = 0;
  Done<ReadBytes> done;
};

RequestId Tree::read_dirty(NodeId file, const DirtyContent& content, uint64_t offset, uint32_t length,
                           Done<ReadBytes> done) {
  const uint64_t size = content.size();
  if (offset >= size || length == 0) {
    done(ReadBytes{});
    return 0;
  }
  const size_t wanted = std::min<uint64_t>(length, size - offset);
  const std::shared_ptr<std::byte[]> buffer(new std::byte[wanted]);
  std::vector<ExtentSet::Range> missing;
  const Result<size_t> got = content.read(offset, std::span(buffer.get(), wanted), missing);
  if (!got) {
    done(got.error());
    return 0;
  }
  if (missing.empty()) {
    reads_.note_hit(*got);
    done(ReadBytes{buffer, std::span<const std::byte>(buffer.get(), *got)});
    return 0;
  }
  if (const auto failed = failures_.find(file, offset, offset + length, Clock::now())) {
    done(*failed);
    return 0;
  }
  const RequestId chain = chains_.begin();
  fetch_base(std::make_shared<Composition>(
                 Composition{file, offset, wanted, buffer, chain, 0, count_miss(wanted, std::move(done))}),
             {missing.front().begin, missing.back().end});
  return chain;
}

// All of it at once, though parts of the range may not be needed: it is no longer than the read.
void Tree::fetch_base(const std::shared_ptr<Composition>& reading, ExtentSet::Range missing) {
  const auto fail = [this, reading](const Error& error) {
    chains_.end(reading->chain);
    reading->done(error);
  };
  const uint64_t number = chains_.next(reading->chain);
  if (number == 0) return fail(Error(Errc::kCanceled, "interrupted"));
  if (++reading->fetches > kMaxBaseFetches) {
    return fail(Error(Errc::kChanged, "the file changes faster than it is read"));
  }
  const RequestId wait =
      syncer_.read(reading->file, missing.begin, static_cast<uint32_t>(missing.end - missing.begin),
                   [this, reading, fail, missing](Result<ReadBytes> base) mutable {
                     if (!base) {
                       if (base.error().code() != Errc::kCanceled) {
                         failures_.add(reading->file, reading->offset, reading->offset + reading->length,
                                       base.error(), Clock::now());
                       }
                       return fail(base.error());
                     }
                     executor_.submit([this, reading, missing, base = std::move(*base)] {
                       compose(reading, {missing.begin, base.bytes});
                     });
                   });
  chains_.waiting(reading->chain, number, wait);
}

void Tree::compose(const std::shared_ptr<Composition>& reading, const BaseBytes& base) {
  const AnswerGate::Section section(gate_);
  const auto dirty = replica_.local().dirty(reading->file);
  if (!dirty) {
    // The source has it all by now, or another version: an ordinary read, though it waits once more.
    const uint64_t number = chains_.next(reading->chain);
    const RequestId wait = read(reading->file, reading->offset, static_cast<uint32_t>(reading->length),
                                [this, reading](Result<ReadBytes> bytes) {
                                  chains_.end(reading->chain);
                                  reading->done(std::move(bytes));
                                });
    if (number != 0) {
      chains_.waiting(reading->chain, number, wait);
    } else if (wait != 0) {
      cancel(wait);
    }
    return;
  }
  const std::span<std::byte> out(reading->buffer.get(), reading->length);
  std::vector<ExtentSet::Range> missing;
  const Result<size_t> got = dirty->read(reading->offset, out, missing, &base);
  if (got && !missing.empty()) return fetch_base(reading, {missing.front().begin, missing.back().end});
  chains_.end(reading->chain);
  if (!got) return reading->done(got.error());
  reading->done(ReadBytes{reading->buffer, std::span<const std::byte>(reading->buffer.get(), *got)});
}

void Tree::seek(NodeId file, uint64_t offset, SeekKind kind, Done<uint64_t> done) {
  const Result<Node> node = regular_node(file);
  if (!node) return done(node.error());
  uint64_t size = node->attr.size;
  uint64_t found = kind == SeekKind::kData ? offset : size;
  if (const auto dirty = replica_.local().dirty(file)) {
    size = dirty->size();
    if (offset < size) found = kind == SeekKind::kData ? dirty->seek_data(offset) : dirty->seek_hole(offset);
    return answer_seek(offset, size, kind, found, std::move(done));
  }
  const Result<std::shared_ptr<const Content>> content = replica_.content(file);
  if (content && *content != nullptr && (*content)->complete()) {
    size = (*content)->size();
    if (offset < size) {
      found = kind == SeekKind::kData ? (*content)->seek_data(offset) : (*content)->seek_hole(offset);
    }
  }
  answer_seek(offset, size, kind, found, std::move(done));
}

}  // namespace rsyncfs
