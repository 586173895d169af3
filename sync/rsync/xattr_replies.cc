// SPDX-License-Identifier: GPL-3.0-or-later
// Requests for the values of extended attributes that the list only gave a digest of.
#include <algorithm>

#include "sync/rsync/replies.h"

namespace rsyncfs {

namespace {
constexpr uint16_t kItemXattr = 0x100;
constexpr uint64_t kMaxFullXattr = 32;

// Whether `value` is what the list gave the digest of.
bool matches_digest(const std::string& value, const std::string& listed) {
  Digest md5(ChecksumKind::kMd5);
  md5.update(std::as_bytes(std::span(value.data(), value.size())));
  const ChecksumValue digest = md5.finish();
  const auto expected = std::as_bytes(std::span(listed.data(), listed.size()));
  return std::equal(expected.begin(), expected.end(), digest.span().begin(), digest.span().end());
}
}  // namespace

// The number of the set's attribute at `place` on the wire, counted from 1.
uint32_t Replies::xattr_number(uint32_t set, size_t place) const {
  const auto odd = xattr_numbers_.find(set);
  return odd == xattr_numbers_.end() ? static_cast<uint32_t>(place + 1) : odd->second[place];
}

void Replies::deliver_known_xattrs(uint32_t ndx) {
  std::vector<std::pair<std::string, std::string>> values;
  const EntryExtra& extra = list_.extra(list_.entry(ndx));
  if (extra.xattrs >= 0) {
    for (const ListedXattr& x : list_.xattr_sets[static_cast<size_t>(extra.xattrs)]) {
      if (!x.abbreviated && x.size > kMaxFullXattr) values.emplace_back(x.name, x.value);
    }
  }
  events_.on_xattrs(ndx, std::move(values));
}

void Replies::request_xattrs(uint32_t ndx, ByteQueue& out) {
  RSYNCFS_CHECK(ndx < list_.size());
  const int32_t set_index = list_.extra(list_.entry(ndx)).xattrs;
  if (set_index < 0) return deliver_known_xattrs(ndx);
  const auto set = static_cast<uint32_t>(set_index);
  const XattrSet& listed = list_.xattr_sets[set];
  const bool any =
      std::any_of(listed.begin(), listed.end(), [](const ListedXattr& x) { return x.abbreviated; });
  const auto asked = xattr_waiters_.find(set);
  if (asked != xattr_waiters_.end() && !asked->second.empty()) {
    asked->second.push_back(ndx);
    return;
  }
  if (!any || asked != xattr_waiters_.end()) return deliver_known_xattrs(ndx);
  xattr_waiters_[set].push_back(ndx);

  std::vector<uint32_t> numbers;
  for (size_t i = 0; i < listed.size(); ++i) {
    if (listed[i].abbreviated) numbers.push_back(xattr_number(set, i));
  }
  std::sort(numbers.begin(), numbers.end());
  out_ndx_.write(out, static_cast<int32_t>(ndx));
  out.append_le16(kItemXattr);
  uint32_t previous = 0;
  for (const uint32_t number : numbers) {
    write_varint(out, static_cast<int32_t>(number - previous));
    previous = number;
  }
  out.append_u8(0);
  pending_.push_back({.ndx = ndx, .sink = nullptr, .head = {}});
}

Result<void> Replies::parse_xattr_number(WireReader& in) {
  const int32_t step = in.varint();
  if (!in.ok()) return {};
  if (step == 0) {
    finish_xattrs();
    return {};
  }
  const int32_t size = in.varint();
  if (!in.ok()) return {};
  const auto set = static_cast<uint32_t>(list_.extra(list_.entry(xattr_answer_->ndx)).xattrs);
  const int64_t number = xattr_answer_->number + step;
  if (number < 1 || number > static_cast<int64_t>(list_.xattr_sets[set].size()) ||
      xattr_answer_->values.contains(static_cast<uint32_t>(number))) {
    return Error(Errc::kProtocol, "the server sent an extended attribute that was not asked for");
  }
  if (size < 0 || static_cast<size_t>(size) > limits_.max_xattr_value_bytes) {
    return Error(Errc::kLimit, "the server sent an over-long extended attribute");
  }
  xattr_answer_->number = number;
  xattr_answer_->value = &xattr_answer_->values[static_cast<uint32_t>(number)];
  xattr_answer_->value_left = static_cast<size_t>(size);
  if (size > 0) phase_ = Phase::kXattrValue;
  return {};
}

size_t Replies::take_xattr_value(std::span<const std::byte> data) {
  XattrAnswer& answer = *xattr_answer_;
  const size_t size = std::min(data.size(), answer.value_left);
  answer.value->append(reinterpret_cast<const char*>(data.data()), size);
  answer.value_left -= size;
  if (answer.value_left == 0) phase_ = Phase::kXattrs;
  return size;
}

void Replies::finish_xattrs() {
  XattrAnswer answer = std::move(*xattr_answer_);
  xattr_answer_.reset();
  phase_ = Phase::kHead;
  const auto set = static_cast<uint32_t>(list_.extra(list_.entry(answer.ndx)).xattrs);
  XattrSet& listed = list_.xattr_sets[set];
  // The entry asked about gets its values as they are now; other entries with this set only what the list
  // promised. It is told first, while the list still has the digests that name the values.
  std::vector<std::pair<std::string, std::string>> values;
  std::vector<std::pair<size_t, std::string>> proven;
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto value = answer.values.find(xattr_number(set, i));
    // An empty answer means that the sender could not read it again.
    if (value == answer.values.end() || value->second.empty() || !listed[i].abbreviated) continue;
    if (matches_digest(value->second, listed[i].value)) proven.emplace_back(i, value->second);
    values.emplace_back(listed[i].name, std::move(value->second));
  }
  std::vector<uint32_t> waiters;
  std::swap(waiters, xattr_waiters_[set]);
  events_.on_xattrs(answer.ndx, std::move(values));
  for (auto& [place, value] : proven) {
    listed[place].value = std::move(value);
    listed[place].abbreviated = false;
  }
  for (const uint32_t ndx : waiters) {
    if (ndx != answer.ndx) deliver_known_xattrs(ndx);
  }
}

}  // namespace rsyncfs
