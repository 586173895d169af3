// SPDX-License-Identifier: GPL-3.0-or-later
// Requests for the values of extended attributes that the list only gave a digest of.
#include <algorithm>
#include <utility>

#include "sync/rsync/item_flags.h"
#include "sync/rsync/replies.h"

namespace rsyncfs {

namespace {
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

// The numbers of the set's values that only a digest is known of and that we are ready to hold.
std::set<uint32_t> Replies::wanted_xattrs(uint32_t set) const {
  std::set<uint32_t> numbers;
  const XattrSet& listed = list_.xattr_sets[set];
  size_t left = limits_.max_xattr_answer_bytes;
  for (size_t i = 0; i < listed.size(); ++i) {
    const ListedXattr& x = listed[i];
    if (!x.abbreviated || x.size > std::min(left, limits_.max_xattr_value_bytes)) continue;
    left -= static_cast<size_t>(x.size);
    numbers.insert(xattr_number(set, i));
  }
  return numbers;
}

bool Replies::request_xattrs(uint32_t ndx, ByteQueue& out) {
  check_requestable(ndx);
  const int32_t set_index = list_.extra(list_.entry(ndx)).xattrs;
  const auto set = static_cast<uint32_t>(set_index);
  if (set_index >= 0) {
    if (const auto asked = xattr_waiters_.find(set); asked != xattr_waiters_.end()) {
      if (asked->second.empty()) return false;
      asked->second.push_back(ndx);
      return true;
    }
  }
  const std::set<uint32_t> numbers = set_index < 0 ? std::set<uint32_t>() : wanted_xattrs(set);
  if (numbers.empty()) {
    events_.on_xattrs(ndx, {});
    return true;
  }
  xattr_waiters_[set].push_back(ndx);
  RSYNCFS_CHECK(!first_);
  out_ndx_.write(out, static_cast<int32_t>(ndx));
  out.append_le16(kItemXattr);
  uint32_t previous = 0;
  for (const uint32_t number : numbers) {
    write_varint(out, static_cast<int32_t>(number - previous));
    previous = number;
  }
  out.append_u8(0);
  pending_.push_back({.ndx = ndx, .sink = nullptr, .head = {}});
  return true;
}

void Replies::begin_xattrs(uint32_t ndx) {
  xattr_answer_.emplace();
  xattr_answer_->ndx = ndx;
  xattr_answer_->wanted = wanted_xattrs(static_cast<uint32_t>(list_.extra(list_.entry(ndx)).xattrs));
  xattr_answer_->bytes_left = limits_.max_xattr_answer_bytes;
  phase_ = Phase::kXattrs;
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
  XattrAnswer& answer = *xattr_answer_;
  const int64_t number = answer.number + step;
  if (number < 1 || number > UINT32_MAX || answer.wanted.erase(static_cast<uint32_t>(number)) == 0) {
    return Error(Errc::kProtocol, "the server sent an extended attribute that was not asked for");
  }
  // It may have grown since it was listed.
  if (size < 0 || static_cast<size_t>(size) > std::min(answer.bytes_left, limits_.max_xattr_value_bytes)) {
    return Error(Errc::kLimit, "the server sent over-long extended attributes");
  }
  answer.number = number;
  answer.value = &answer.values[static_cast<uint32_t>(number)];
  answer.value_left = static_cast<size_t>(size);
  answer.bytes_left -= answer.value_left;
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
  const XattrSet& listed = list_.xattr_sets[set];
  const std::vector<uint32_t> waiters = std::exchange(xattr_waiters_[set], {});
  // The entry asked about gets its values as they are now; other entries with this set only what the list
  // promised.
  std::vector<std::pair<std::string, std::string>> values;
  std::vector<std::pair<std::string, std::string>> proven;
  for (size_t i = 0; i < listed.size(); ++i) {
    const auto value = answer.values.find(xattr_number(set, i));
    // An empty answer means that the sender could not read it again.
    if (value == answer.values.end() || value->second.empty() || !listed[i].abbreviated) continue;
    if (waiters.size() > 1 && matches_digest(value->second, listed[i].value))
      proven.emplace_back(listed[i].name, value->second);
    values.emplace_back(listed[i].name, std::move(value->second));
  }
  events_.on_xattrs(answer.ndx, std::move(values));
  for (const uint32_t ndx : waiters) {
    if (ndx != answer.ndx) events_.on_xattrs(ndx, proven);
  }
}

}  // namespace rsyncfs
