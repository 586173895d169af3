# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that people read, and its pictures."""
import os

from runner import chart
from runner.rows import number

HEAD = '''<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# Results

Made by `bench/run` of what the scenarios in `bench/scenarios` and the Google Benchmark programs in `bench` printed; each runs its
peer in the same run. A value is a median of so many repeats, after a warm-up; "exact" are counts, which do not depend on the machine's speed.
Ratios are medians of the ratios of single rounds. Times are those of the machine, and of what else ran on it: the load is that
of the last minute, before and after.

![each row with a limit, as a part of it](results.svg)
'''


def provenance(result):
    """Where a program's numbers come from, in one paragraph."""
    if 'machine' not in result:
        return 'Run before the machine, its load and the commit were recorded; where no repeats are given, they were not either.\n'
    on = result['machine']
    dirty = '' if result['clean'] else ' with changes that were not committed'
    return (f"{result['date']}, commit {result['commit']}{dirty}; {on['cpu']}, {on['cores']} processors, "
            f"{on['memory_mib']} MiB, Linux {on['kernel']}, {on['file_system']}, rsync {on['rsync']}; "
            f"load {result['load_before'][0]} before, {result['load_after'][0]} after, {result['seconds']} s.\n")


def repeats_of(row):
    if row.exact:
        return 'exact'
    return '' if row.repeats is None else str(row.repeats)


def section(name, result):
    lines = [f'\n## {name}\n']
    lines += [text for text in (provenance(result), result.get('note', '') and result['note'] + '\n') if text]
    lines.append(f'![{name}](results/{name}.svg)\n')
    lines += ['| what | value | unit | limit | repeats |', '|---|---:|---|---:|---:|']
    for row in result['rows']:
        bound = row.bound_text + (' (over)' if row.is_beyond and row.limit is not None else '') + \
            (' (below)' if row.is_beyond and row.least is not None else '')
        lines.append(f'| {row.name} | {number(row.value)} | {row.unit} | {bound} | {repeats_of(row)} |')
    return '\n'.join(lines) + '\n'


def write(page, results):
    """`page`, and beside it results.svg and results/PROGRAM.svg."""
    folder = os.path.dirname(page)
    os.makedirs(os.path.join(folder, 'results'), exist_ok=True)
    with open(page, 'w', encoding='utf-8') as file:
        file.write(HEAD + ''.join(section(name, result) for name, result in sorted(results.items())))
    with open(os.path.join(folder, 'results.svg'), 'w', encoding='utf-8') as file:
        file.write(chart.of_limits(results))
    for name, result in results.items():
        with open(os.path.join(folder, 'results', f'{name}.svg'), 'w', encoding='utf-8') as file:
            file.write(chart.of_program(result))
