// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/journal_records.h"

#include <limits>

#include "sync/replica/varint.h"

namespace rsyncfs {
namespace {

enum Kind : uint8_t { kMade = 1, kWritten = 2, kAttributes = 3 };

void append_bytes(std::string& out, std::string_view bytes) {
  append_varint(out, bytes.size());
  out.append(bytes);
}

void append_time(std::string& out, const FileTime& time) {
  append_varint(out, static_cast<uint64_t>(time.s));
  append_varint(out, time.ns);
}

void append(std::string& out, const MadeRecord& made) {
  append_varint(out, kMade);
  append_varint(out, made.node);
  append_varint(out, made.parent);
  append_bytes(out, made.name);
  append_varint(out, made.mode);
  append_varint(out, made.uid);
  append_varint(out, made.gid);
  append_varint(out, made.parent_links);
  append_bytes(out, made.link_target);
  append_time(out, made.at);
}

void append(std::string& out, const WrittenRecord& written) {
  append_varint(out, kWritten);
  append_varint(out, written.node);
  append_varint(out, written.offset);
  append_bytes(out, written.bytes);
  append_time(out, written.at);
}

void append(std::string& out, const AttributesRecord& attributes) {
  append_varint(out, kAttributes);
  append_varint(out, attributes.node);
  append_varint(out, attributes.mode);
  append_varint(out, attributes.uid);
  append_varint(out, attributes.gid);
  append_time(out, attributes.mtime);
  append_time(out, attributes.atime);
  append_time(out, attributes.at);
}

// Reads one field after the other; what is missing makes the whole thing nothing.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}
  void take(uint64_t& out) {
    const auto value = take_varint(rest_);
    good_ = good_ && value.has_value();
    out = value.value_or(0);
  }
  void take(uint32_t& out) {
    uint64_t value = 0;
    take(value);
    good_ = good_ && value <= std::numeric_limits<uint32_t>::max();
    out = static_cast<uint32_t>(value);
  }
  void take(std::string_view& out) {
    const auto value = take_bytes(rest_);
    good_ = good_ && value.has_value();
    out = value.value_or(std::string_view());
  }
  void take(FileTime& out) {
    uint64_t seconds = 0;
    take(seconds);
    out.s = static_cast<int64_t>(seconds);
    take(out.ns);
  }
  bool all_taken() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

std::optional<JournalRecord> whole(const Fields& fields, JournalRecord record) {
  return fields.all_taken() ? std::optional<JournalRecord>(record) : std::nullopt;
}

}  // namespace

std::string encode(const JournalRecord& record) {
  std::string out;
  std::visit([&out](const auto& one) { append(out, one); }, record);
  return out;
}

std::optional<JournalRecord> decode_journal_record(std::string_view bytes) {
  Fields fields(bytes);
  uint64_t kind = 0;
  fields.take(kind);
  switch (kind) {
    case kMade: {
      MadeRecord made;
      fields.take(made.node);
      fields.take(made.parent);
      fields.take(made.name);
      fields.take(made.mode);
      fields.take(made.uid);
      fields.take(made.gid);
      fields.take(made.parent_links);
      fields.take(made.link_target);
      fields.take(made.at);
      return whole(fields, made);
    }
    case kWritten: {
      WrittenRecord written;
      fields.take(written.node);
      fields.take(written.offset);
      fields.take(written.bytes);
      fields.take(written.at);
      return whole(fields, written);
    }
    case kAttributes: {
      AttributesRecord attributes;
      fields.take(attributes.node);
      fields.take(attributes.mode);
      fields.take(attributes.uid);
      fields.take(attributes.gid);
      fields.take(attributes.mtime);
      fields.take(attributes.atime);
      fields.take(attributes.at);
      return whole(fields, attributes);
    }
    default:
      return std::nullopt;
  }
}

}  // namespace rsyncfs
