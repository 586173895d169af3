// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that deals with bytes.
#include <cerrno>
#include <utility>

#include "fs/tree/tree.h"

namespace rsyncfs {

RequestId Tree::read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) {
  Result<std::shared_ptr<const Content>> content = replica_.content(file);
  if (content && *content != nullptr) {
    if (const auto bytes = (*content)->view(offset, length)) {
      done(ReadBytes{std::move(*content), *bytes});
      return 0;
    }
  }
  const Result<Node> node = regular_node(file);
  if (!node) {
    done(node.error());
    return 0;
  }
  if (offset >= node->attr.size || length == 0) {
    done(ReadBytes{});
    return 0;
  }
  const uint64_t end = offset + length;
  if (const auto failed = failures_.find(file, offset, end, Clock::now())) {
    done(*failed);
    return 0;
  }
  return syncer_.read(file, offset, length,
                      [this, file, offset, end, done = std::move(done)](Result<ReadBytes> read) mutable {
                        const AnswerGate::Section section(gate_);
                        if (!read && read.error().code() != Errc::kCanceled) {
                          failures_.add(file, offset, end, read.error(), Clock::now());
                        }
                        done(std::move(read));
                      });
}

void Tree::seek(NodeId file, uint64_t offset, SeekKind kind, Done<uint64_t> done) {
  const Result<Node> node = regular_node(file);
  if (!node) return done(node.error());
  uint64_t size = node->attr.size;
  uint64_t found = kind == SeekKind::kData ? offset : size;
  const Result<std::shared_ptr<const Content>> content = replica_.content(file);
  if (content && *content != nullptr && (*content)->complete()) {
    size = (*content)->size();
    if (offset < size) {
      found = kind == SeekKind::kData ? (*content)->seek_data(offset) : (*content)->seek_hole(offset);
    }
  }
  if (offset >= size || (kind == SeekKind::kData && found >= size)) return done(Error::os(ENXIO, "lseek"));
  done(found);
}

}  // namespace rsyncfs
