// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/requests.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {
constexpr int kDeleteCounts = 5;  // files, directories, links, devices, specials
constexpr size_t kMaxName = 4096;
}  // namespace

Requests::Requests(const Agreement& agreement, bool xattrs, bool append, const PushList& list,
                   GeneratorHandler& handler)
    : agreement_(agreement), xattrs_(xattrs), append_(append), list_(list), handler_(handler) {}

Result<Parsed> Requests::parse(std::span<const std::byte> data) {
  Parsed parsed;
  while (parsed.consumed < data.size()) {
    WireReader in(data.subspan(parsed.consumed));
    if (auto taken = step(in); !taken.ok()) return taken.error();
    if (in.is_bad()) return Error(Errc::kProtocol, std::string("in a request: ") + in.bad());
    if (in.is_short()) {
      parsed.need = in.need();
      return parsed;
    }
    parsed.consumed += in.position();
  }
  return parsed;
}

// Nothing is changed when `in` turns out short.
Result<void> Requests::step(WireReader& in) {
  switch (phase_) {
    case Phase::kHead:
      return parse_head(in);
    case Phase::kDeleteCounts:
      return parse_delete_count(in);
    case Phase::kXattrs:
      return parse_xattr(in);
    case Phase::kSumHead:
      return parse_sum_head(in);
    case Phase::kSums:
      return parse_sum(in);
  }
  return {};
}

Result<void> Requests::parse_head(WireReader& in) {
  NdxCoder coder = ndx_;
  const int32_t ndx = coder.read(in);
  if (!in.ok()) return {};
  if (ndx == kNdxDone || ndx == kNdxDelStats) {
    ndx_ = coder;
    if (ndx == kNdxDone) return handler_.on_generator_done();
    delete_counts_left_ = kDeleteCounts;
    phase_ = Phase::kDeleteCounts;
    return {};
  }
  if (ndx < 0 || static_cast<uint32_t>(ndx) >= list_.size()) {
    return Error(Errc::kProtocol,
                 "the server speaks of entry " + std::to_string(ndx) + ", which it was not sent");
  }
  GeneratorItem item;
  item.ndx = static_cast<uint32_t>(ndx);
  item.iflags = in.le16();
  if ((item.iflags & kItemBasisType) != 0) item.basis_type = in.u8();
  if ((item.iflags & kItemExtraName) != 0) item.xname = in.vstring();
  if (item.xname.size() > kMaxName) return Error(Errc::kProtocol, "an over-long name from the server");
  if (!in.ok()) return {};
  ndx_ = coder;
  item_ = std::move(item);
  return after_head();
}

Result<void> Requests::parse_delete_count(WireReader& in) {
  in.varint();
  if (in.ok() && --delete_counts_left_ == 0) phase_ = Phase::kHead;
  return {};
}

Result<void> Requests::after_head() {
  if (auto checked = check_item(); !checked.ok()) return checked;
  item_.again = handler_.was_sent(item_.ndx);
  constexpr uint16_t kSettledHere = kItemExtraName | kItemLocalChange;
  const bool spared = agreement_.spares_xattrs && (item_.iflags & kSettledHere) == kSettledHere;
  if (!xattrs_ || (item_.iflags & kItemXattr) == 0 || spared) return after_xattrs();
  xattr_number_ = 0;
  item_.xattrs_asked = true;
  phase_ = Phase::kXattrs;
  return {};
}

Result<void> Requests::check_item() const {
  if ((item_.iflags & kItemTransfer) != 0 && !S_ISREG(list_.entry(item_.ndx).mode)) {
    return Error(Errc::kProtocol, "the server asks for the contents of what is no regular file");
  }
  return {};
}

Result<void> Requests::parse_xattr(WireReader& in) {
  const int32_t step = in.varint();
  if (!in.ok()) return {};
  if (step == 0) {
    std::ranges::sort(item_.xattrs);
    return after_xattrs();
  }
  xattr_number_ += step;
  const auto& xattrs = list_.entry(item_.ndx).xattrs;
  const auto number = static_cast<uint32_t>(xattr_number_);
  if (xattr_number_ < 1 || xattr_number_ > static_cast<int64_t>(xattrs.size()) ||
      std::ranges::count(item_.xattrs, number) > 0) {
    return Error(Errc::kProtocol, "the server asks for an extended attribute that was not listed");
  }
  item_.xattrs.push_back(number);
  return {};
}

Result<void> Requests::after_xattrs() {
  if ((item_.iflags & kItemTransfer) == 0) return finish_item();
  phase_ = Phase::kSumHead;
  return {};
}

Result<void> Requests::parse_sum_head(WireReader& in) {
  const SumHead head = SumHead::read(in);
  if (!in.ok()) return {};
  if (head.count > 0x7fffffff || head.block_length > kMaxBlockLength ||
      (head.count > 0 && head.block_length == 0) || head.strong_length > checksum_size(agreement_.checksum) ||
      head.remainder > head.block_length) {
    return Error(Errc::kProtocol, "block sums of impossible measures from the server");
  }
  item_.head = head;
  const bool sums_follow = !append_ || item_.again;
  if (head.count == 0 || !sums_follow) return finish_item();
  item_.sums_dropped = head.count > handler_.sum_bytes_left() / sizeof(BlockSum);
  if (!item_.sums_dropped) {
    item_.sums.block_length = head.block_length;
    item_.sums.strong_length = head.strong_length;
    item_.sums.remainder = head.remainder == head.block_length ? 0 : head.remainder;
  }
  sums_left_ = head.count;
  phase_ = Phase::kSums;
  return {};
}

Result<void> Requests::parse_sum(WireReader& in) {
  BlockSum sum;
  sum.rolling = in.le32();
  const auto strong = in.bytes(item_.head.strong_length);
  if (!in.ok()) return {};
  if (!item_.sums_dropped) {
    std::copy(strong.begin(), strong.end(), sum.strong.bytes.begin());
    sum.strong.size = static_cast<uint8_t>(strong.size());
    item_.sums.blocks.push_back(sum);
  }
  if (--sums_left_ > 0) return {};
  return finish_item();
}

Result<void> Requests::finish_item() {
  phase_ = Phase::kHead;
  return handler_.on_generator_item(std::exchange(item_, {}));
}

}  // namespace rsyncfs
