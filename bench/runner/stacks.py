# SPDX-License-Identifier: GPL-3.0-or-later
"""Sampled stacks: read from perf, folded, listed by function, drawn as a flame graph."""
import collections
import re
import subprocess
import zlib
from html import escape

WIDTH = 1400
LEVEL = 17
LEAST_PIXELS = 0.4
PIXELS_OF_A_LETTER = 6.6


def folded(perf_data):
    """Samples by stack, outermost first; the outermost is the thread's name."""
    stacks = collections.Counter()
    with subprocess.Popen(['perf', 'script', '--no-inline', '-F', 'comm,period,ip,sym', '-i', perf_data],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors='replace') as script:
        thread, period, frames = None, 0, []
        for line in script.stdout:
            line = line.rstrip()
            if not line:
                if thread:
                    stacks[(thread, *reversed(frames))] += period
                thread, frames = None, []
            elif thread is None:
                found = re.match(r'\s*(.*?)\s+(\d+)\s*$', line)
                thread, period = (found.group(1), int(found.group(2))) if found else (line.strip(), 1)
            else:
                frames.append(short(line.split(None, 1)[-1]))
        if thread:
            stacks[(thread, *reversed(frames))] += period
    return stacks


def short(symbol):
    """A function's name without its arguments."""
    if symbol.startswith('['):
        return symbol
    name = re.sub(r'\(anonymous namespace\)::', '', symbol)
    while True:
        shorter = re.sub(r'<[^<>]*>', '', name)
        if shorter == name:
            break
        name = shorter
    return re.sub(r'\(.*', '', name).replace('rsyncfs::', '') or symbol


def by_function(stacks, count=40):
    """A table: the part of all samples that are in a function itself, and in it and what it calls."""
    own, inclusive = collections.Counter(), collections.Counter()
    for stack, samples in stacks.items():
        own[stack[-1]] += samples
        for frame in set(stack[1:]):
            inclusive[frame] += samples
    total = sum(stacks.values()) or 1
    lines = ['  self  function']
    lines += [f'{100 * samples / total:6.2f}  {name}' for name, samples in own.most_common(count)]
    lines += ['', ' total  function and what it calls']
    lines += [f'{100 * samples / total:6.2f}  {name}' for name, samples in inclusive.most_common(count)]
    return '\n'.join(lines) + '\n'


def tree_of(stacks):
    root = {'samples': 0, 'callees': {}}
    for stack, samples in stacks.items():
        node = root
        node['samples'] += samples
        for frame in stack:
            node = node['callees'].setdefault(frame, {'samples': 0, 'callees': {}})
            node['samples'] += samples
    return root


def colour(name):
    mixed = zlib.crc32(name.encode())
    return f'rgb({205 + mixed % 50},{80 + mixed // 50 % 130},{mixed // 6500 % 60})'


def flame_graph(stacks, title):
    """An SVG: width is samples, what is called lies above its caller; pointing at a frame tells its part."""
    root = tree_of(stacks)
    total = root['samples'] or 1
    boxes, depth = [], 0
    todo = [(root, 'all', 0.0, 0)]
    while todo:
        node, name, left, level = todo.pop()
        width = node['samples'] / total * WIDTH
        if width < LEAST_PIXELS:
            continue
        depth = max(depth, level)
        boxes.append((name, left, width, level, node['samples']))
        for callee, child in sorted(node['callees'].items()):
            todo.append((child, callee, left, level + 1))
            left += child['samples'] / total * WIDTH
    height = (depth + 1) * LEVEL + 40
    size = f'width="{WIDTH}" height="{height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
             f'<rect {size} fill="white"/>', f'<text x="8" y="18" font-size="14">{escape(title)}</text>']
    for name, left, width, level, samples in boxes:
        y = height - (level + 1) * LEVEL - 6
        letters = int((width - 4) / PIXELS_OF_A_LETTER)
        words = name if len(name) <= letters else name[:letters - 2] + '..' if letters > 4 else ''
        parts.append(f'<g><title>{escape(name)}: {100 * samples / total:.2f} %</title>'
                     f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{LEVEL - 1}" fill="{colour(name)}"/>'
                     f'<text x="{left + 2:.1f}" y="{y + 12}">{escape(words)}</text></g>')
    return '\n'.join(parts) + '\n</svg>\n'
