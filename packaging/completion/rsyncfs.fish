# SPDX-License-Identifier: GPL-3.0-or-later
# fish completion of rsyncfs(1). Verbs and options come from the program's own --help.

function __rsyncfs_verbs
    rsyncfs --help 2>/dev/null | sed -n '/^$/q; /^rsyncfs [a-z]/{h; s/^rsyncfs \([a-z]*\).*/\1/p; g; s/.*, rsyncfs \([a-z]*\) .*/\1/p}'
end

function __rsyncfs_mount_options
    rsyncfs --help 2>/dev/null | sed -n '/^The source:/,/^State is kept/s/^  \([a-z_0-9]*\)\(=\?\).*/\1\2/p'
end

# What was typed of a list, and each option after its last comma.
function __rsyncfs_option_list
    set -l typed (commandline -ct)
    set -l before (string match -r '^.*,' -- $typed)
    for option in (__rsyncfs_mount_options)
        echo $before$option
    end
end

function __rsyncfs_flags
    set -l verb (commandline -opc)[2]
    rsyncfs $verb --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*'
end

function __rsyncfs_mounts
    awk '$3 == "fuse.rsyncfs" { print $2 }' /proc/self/mounts
end

complete -c rsyncfs -n __fish_is_first_token -a '(__rsyncfs_verbs)'
complete -c rsyncfs -s o -x -a '(__rsyncfs_option_list)' -d 'mount options'
complete -c rsyncfs -n 'string match -q -- "-*" (commandline -ct)' -a '(__rsyncfs_flags)'
complete -c rsyncfs -f -n '__fish_seen_subcommand_from umount status conflicts resume' -a '(__rsyncfs_mounts)'
