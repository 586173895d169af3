// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/layer_stack.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "sync/replica/write_all.h"

namespace rsyncfs {

LayerStack::Piece LayerStack::piece_at(uint64_t offset, uint64_t end) const {
  for (const Layer* layer : layers_) {
    if (const auto extent = layer->extents.find(offset))
      return {Piece::From::kLayer, layer, offset, std::min(end, extent->end)};
    end = std::min(end, layer->extents.next_begin(offset));
    if (offset >= layer->base_limit) return {Piece::From::kZero, nullptr, offset, end};
    end = std::min(end, layer->base_limit);
  }
  return {Piece::From::kBase, nullptr, offset, end};
}

Result<const Content*> LayerStack::base() {
  if (!base_known_) {
    auto content = contents_.content(node_);
    if (!content) return content.error();
    base_ = std::move(*content);
    base_known_ = true;
  }
  return base_.get();
}

Result<size_t> LayerStack::read(uint64_t offset, std::span<std::byte> out,
                                std::vector<ExtentSet::Range>& missing, const BaseBytes* fresh) {
  if (offset >= size_) return size_t{0};
  out = out.first(std::min<uint64_t>(out.size(), size_ - offset));
  const uint64_t end = offset + out.size();
  for (uint64_t at = offset; at < end;) {
    const Piece piece = piece_at(at, end);
    const auto part = out.subspan(at - offset, piece.end - at);
    Result<void> done;
    switch (piece.from) {
      case Piece::From::kLayer: {
        auto fd = files_.open(piece.layer->block_file);
        if (!fd) return fd.error();
        done = read_all((*fd)->get(), part, at, "reading a local change");
        break;
      }
      case Piece::From::kBase:
        done = read_base(at, part, missing, fresh);
        break;
      case Piece::From::kZero:
        std::memset(part.data(), 0, part.size());
        break;
    }
    if (!done) return done.error();
    at = piece.end;
  }
  return out.size();
}

Result<void> LayerStack::read_base(uint64_t offset, std::span<std::byte> out,
                                   std::vector<ExtentSet::Range>& missing, const BaseBytes* fresh) {
  if (fresh == nullptr || fresh->bytes.empty()) return fill_from_base(offset, out, missing);
  const uint64_t end = offset + out.size();
  // Before, from, and after the fresh bytes.
  const uint64_t from = std::clamp(fresh->offset, offset, end);
  const uint64_t to = std::clamp(fresh->offset + fresh->bytes.size(), from, end);
  if (from > offset) {
    if (auto done = fill_from_base(offset, out.first(from - offset), missing); !done) return done;
  }
  if (to > from)
    std::memcpy(out.data() + (from - offset), fresh->bytes.data() + (from - fresh->offset), to - from);
  if (to < end) return fill_from_base(to, out.subspan(to - offset), missing);
  return {};
}

Result<void> LayerStack::fill_from_base(uint64_t offset, std::span<std::byte> out,
                                        std::vector<ExtentSet::Range>& missing) {
  auto content = base();
  if (!content) return content.error();
  const uint64_t end = offset + out.size();
  if (*content == nullptr) {
    missing.push_back({offset, end});
    return {};
  }
  const uint64_t there = std::clamp((*content)->size(), offset, end);
  if (there < end) std::memset(out.data() + (there - offset), 0, end - there);
  if (there == offset) return {};
  if (const auto view = (*content)->view(offset, there - offset)) {
    if (!view->empty()) std::memcpy(out.data(), view->data(), view->size());
    return {};
  }
  const auto gaps = (*content)->missing(offset, there);
  missing.insert(missing.end(), gaps.begin(), gaps.end());
  return {};
}

Result<void> LayerStack::find_missing(uint64_t begin, uint64_t end, std::vector<ExtentSet::Range>& missing) {
  end = std::min(end, size_);
  for (uint64_t at = begin; at < end;) {
    const Piece piece = piece_at(at, end);
    at = piece.end;
    if (piece.from != Piece::From::kBase) continue;
    auto content = base();
    if (!content) return content.error();
    if (*content == nullptr) {
      missing.push_back({piece.begin, piece.end});
    } else {
      const auto gaps =
          (*content)->missing(piece.begin, std::clamp((*content)->size(), piece.begin, piece.end));
      missing.insert(missing.end(), gaps.begin(), gaps.end());
    }
  }
  return {};
}

// Where data or a hole begins in the piece; its end if there is none. What can't be told is data.
uint64_t LayerStack::seek_in(const Piece& piece, int whence) {
  const uint64_t unknown = whence == SEEK_DATA ? piece.begin : piece.end;
  if (piece.from == Piece::From::kZero) return whence == SEEK_DATA ? piece.end : piece.begin;
  if (piece.from == Piece::From::kBase) {
    const auto content = base();
    if (!content || *content == nullptr || !(*content)->complete()) return unknown;
    // Beyond the base's end is a hole.
    if (piece.begin >= (*content)->size()) return whence == SEEK_DATA ? piece.end : piece.begin;
    const uint64_t found =
        whence == SEEK_DATA ? (*content)->seek_data(piece.begin) : (*content)->seek_hole(piece.begin);
    if (whence == SEEK_DATA && found >= (*content)->size()) return piece.end;
    return std::min(found, piece.end);
  }
  const auto fd = files_.open(piece.layer->block_file);
  if (!fd) return unknown;
  const off_t found = lseek((*fd)->get(), static_cast<off_t>(piece.begin), whence);
  if (found < 0) return errno == ENXIO && whence == SEEK_DATA ? piece.end : unknown;
  return std::min(static_cast<uint64_t>(found), piece.end);
}

uint64_t LayerStack::seek(uint64_t offset, int whence) {
  while (offset < size_) {
    const Piece piece = piece_at(offset, size_);
    const uint64_t found = seek_in(piece, whence);
    if (found < piece.end) return found;
    offset = piece.end;
  }
  return size_;
}

uint64_t LayerStack::seek_data(uint64_t offset) {
  return seek(offset, SEEK_DATA);
}

uint64_t LayerStack::seek_hole(uint64_t offset) {
  return seek(offset, SEEK_HOLE);
}

}  // namespace rsyncfs
