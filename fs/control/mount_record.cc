// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/mount_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "fs/control/byte_text.h"
#include "fs/control/json_fields.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr size_t kMaxRecordBytes = 64 * 1024;
constexpr std::string_view kSuffix = ".mount";

}  // namespace

Result<void> write_mount_record(const std::string& directory, const MountRecord& record) {
  const Json json = {{"pid", record.pid},
                     {"mountpoint", bytes_to_text(record.mountpoint)},
                     {"source", bytes_to_text(record.source)},
                     {"type", bytes_to_text(record.type)},
                     {"fsname", bytes_to_text(record.fsname)},
                     {"device", record.device}};
  const std::string text = dump_json(json) + "\n";
  const std::string path = directory + "/" + record_name(record.mountpoint);
  const std::string fresh = path + ".new";
  UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::os(errno, "cannot write " + fresh);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Error::os(errno, "cannot write " + fresh);
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return Error::os(errno, "cannot write " + path);
  return {};
}

Result<MountRecord> read_mount_record(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return Error(Errc::kNotFound, path + ": no record");
  std::string text(kMaxRecordBytes, '\0');
  const ssize_t length = read(fd.get(), text.data(), text.size());
  text.resize(length < 0 ? 0 : static_cast<size_t>(length));
  const Result<Json> json = parse_json_object(text);
  if (!json) return Error(Errc::kCorrupt, path + ": " + json.error().message());
  Result<std::string> mountpoint = path_field(*json, "mountpoint");
  Result<std::string> source = path_field(*json, "source");
  Result<std::string> type = path_field(*json, "type");
  Result<std::string> fsname = path_field(*json, "fsname");
  if (!mountpoint || !source || !type || !fsname)
    return Error(Errc::kCorrupt, path + ": no record of a mount");
  MountRecord record;
  record.pid = static_cast<pid_t>(signed_field(*json, "pid"));
  record.mountpoint = std::move(mountpoint.value());
  record.source = std::move(source.value());
  record.type = std::move(type.value());
  record.fsname = std::move(fsname.value());
  record.device = text_field(*json, "device");
  return record;
}

// Device numbers are given again, to other types and sources too.
bool is_recorded(const MountedAt& mounted, const MountRecord& record) {
  if (mounted.type != record.type || mounted.source != record.fsname) return false;
  return record.device.empty() || mounted.device == record.device;
}

std::vector<RecordedMount> recorded_mounts(const UserPlaces& user) {
  std::vector<RecordedMount> found;
  for (const std::string& directory : runtime_directories(user)) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
    if (!dir) continue;
    while (const dirent* entry = readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (name.size() <= kSuffix.size() || name.substr(name.size() - kSuffix.size()) != kSuffix) continue;
      const Result<MountRecord> record = read_mount_record(directory + "/" + std::string(name));
      if (record && record_name(record->mountpoint) == name) found.push_back({directory, *record});
    }
  }
  std::sort(found.begin(), found.end(), [](const RecordedMount& a, const RecordedMount& b) {
    return a.record.mountpoint < b.record.mountpoint;
  });
  return found;
}

}  // namespace rsyncfs
