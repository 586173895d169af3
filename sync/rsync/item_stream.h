// SPDX-License-Identifier: GPL-3.0-or-later
// Cuts a byte stream that arrives in arbitrary pieces into whole items without copying what is already
// contiguous.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

// What a parser made of the bytes in front of it.
struct Parsed {
  size_t consumed = 0;  // whole items taken
  size_t need = 0;      // bytes that the next item needs at least, if it is incomplete; 0 = unknown
};

class ItemStream {
 public:
  // Calls parse(bytes) -> Result<Parsed> with everything not yet consumed; `parse` takes as many items as it
  // can. Only an incomplete item is kept and copied.
  template <class Parser>
  Result<void> feed(std::span<const std::byte> data, Parser&& parse) {
    while (!carry_.empty() && !data.empty()) {
      const size_t old_size = carry_.size();
      const size_t wanted = need_ > old_size ? need_ - old_size : 1;
      const size_t taken = std::min(data.size(), std::max(wanted, kGulp));
      carry_.insert(carry_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(taken));
      if (carry_.size() < need_) return {};
      Result<Parsed> parsed = parse(std::span<const std::byte>(carry_));
      if (!parsed.ok()) return parsed.error();
      need_ = parsed->need;
      if (parsed->consumed >= old_size) {
        data = data.subspan(parsed->consumed - old_size);
        carry_.clear();
      } else {
        carry_.erase(carry_.begin(), carry_.begin() + static_cast<std::ptrdiff_t>(parsed->consumed));
        data = data.subspan(taken);
      }
    }
    if (data.empty()) return {};
    Result<Parsed> parsed = parse(data);
    if (!parsed.ok()) return parsed.error();
    need_ = parsed->need;
    const auto rest = data.subspan(parsed->consumed);
    carry_.assign(rest.begin(), rest.end());
    return {};
  }

  size_t held() const { return carry_.size(); }

 private:
  static constexpr size_t kGulp =
      256;  // copied beyond an incomplete item, so that small items need few calls

  std::vector<std::byte> carry_;
  size_t need_ = 0;
};

}  // namespace rsyncfs
