# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and of what something was measured."""
import os
import re
import subprocess


def output_of(*command, cwd=None):
    """Its standard output; '' when it can't be run."""
    try:
        return subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


def first_match(path, pattern):
    with open(path, encoding='utf-8') as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found.group(1) if found else 'unknown'


def file_system_of(directory):
    """Its type, as the kernel names it."""
    best, kind = '', 'unknown'
    path = os.path.realpath(directory)
    with open('/proc/self/mountinfo', encoding='utf-8') as mounts:
        for line in mounts:
            fields = line.split()
            point = fields[4]
            if (path + '/').startswith(point.rstrip('/') + '/') and len(point) >= len(best):
                best, kind = point, fields[fields.index('-') + 1]
    return kind


def machine(bench_directory):
    version = re.search(r'version (\S+)', output_of('rsync', '--version'))
    return {
        'cpu': first_match('/proc/cpuinfo', r'^model name\s*: (.*)$'),
        'cores': len(os.sched_getaffinity(0)),
        'memory_mib': int(first_match('/proc/meminfo', r'^MemTotal:\s*(\d+)')) // 1024,
        'kernel': os.uname().release,
        'file_system': file_system_of(bench_directory),
        'rsync': version.group(1) if version else 'missing',
    }


def load():
    """Processes that ran or waited for the disk, averaged over 1, 5 and 15 minutes."""
    return [round(average, 2) for average in os.getloadavg()]


def commit(top):
    # Whoever measures need not own the checkout.
    git = ('git', '-c', 'safe.directory=*', '-C', top)
    return {
        'commit': output_of(*git, 'rev-parse', '--short=12', 'HEAD') or 'unknown',
        'clean': output_of(*git, 'status', '--porcelain', '--untracked-files=no') == '',
    }
