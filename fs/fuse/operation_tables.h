// SPDX-License-Identifier: GPL-3.0-or-later
// The parts of the table of operations. Private to fs/fuse.
#pragma once

struct fuse_lowlevel_ops;

namespace rsyncfs {

void add_reading(fuse_lowlevel_ops& ops);
// Names and attributes; bytes. Open is there, since it may truncate.
void add_changing(fuse_lowlevel_ops& ops);
void add_writing(fuse_lowlevel_ops& ops);
// What our own thread asks for is answered as done; all else as before. Last.
void add_echoes(fuse_lowlevel_ops& ops);
// Instead of the two: everything that changes something is refused.
void add_refusing(fuse_lowlevel_ops& ops);

}  // namespace rsyncfs
