// SPDX-License-Identifier: GPL-3.0-or-later
// What a generator says of an entry: what differs, and what it wants (rsync.h ITEM_*, FNAMECMP_*).
#pragma once

#include <cstdint>

namespace rsyncfs {

constexpr uint16_t kItemChange = 0x2;
constexpr uint16_t kItemSize = 0x4;
constexpr uint16_t kItemTime = 0x8;
constexpr uint16_t kItemPerms = 0x10;
constexpr uint16_t kItemOwner = 0x20;
constexpr uint16_t kItemGroup = 0x40;
constexpr uint16_t kItemAcl = 0x80;
constexpr uint16_t kItemXattr = 0x100;
constexpr uint16_t kItemBasisType = 0x800;   // a byte follows: what the sums are of
constexpr uint16_t kItemExtraName = 0x1000;  // a name follows
constexpr uint16_t kItemIsNew = 0x2000;      // there is no such name
constexpr uint16_t kItemLocalChange = 0x4000;
constexpr uint16_t kItemTransfer = 0x8000;  // contents are wanted

constexpr uint8_t kBasisOwn = 0x80;  // the file of that name
constexpr uint8_t kBasisPartialDir = 0x81;
constexpr uint8_t kBasisBackup = 0x82;
constexpr uint8_t kBasisFuzzy =
    0x83;  // and above: a file of another name; below kBasisOwn: of another directory

}  // namespace rsyncfs
