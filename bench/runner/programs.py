# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that measure: scenarios of whole mounts, and Google Benchmark programs for the pieces."""
import json
import os
import subprocess
import sys
import tempfile

from runner.rows import Row, from_line

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(TOP, 'bench')
BUILT = os.path.join(TOP, 'build', 'release', 'bench')
USUAL_LINK = 'wan'
BEYOND_A_LIMIT = 3  # exit status of a scenario that came to its end
WARM_UP_S = 0.1
LEAST_S = 0.2  # of one repetition
REPETITIONS = 5


def scenarios():
    folder = os.path.join(BENCH, 'scenarios')
    return sorted(name for name in os.listdir(folder) if os.access(os.path.join(folder, name), os.X_OK))


def benches():
    return sorted(name[:-3] for name in os.listdir(BENCH) if name.endswith('_bench.cc'))


def title(name):
    """Under which its results are kept: those over another link (bench/scenarios/peers.sh) beside those over the usual one."""
    link = os.environ.get('LINK', USUAL_LINK)
    return name if link == USUAL_LINK or not name.startswith('peers_') else f'{name}.{link}'


class Failed(Exception):
    """A program did not come to its end."""


def measure(name):
    """The rows of one program, which tells standard error how it goes."""
    return of_scenario(name) if name in scenarios() else of_bench(name)


def of_scenario(name):
    rows = []
    with subprocess.Popen([os.path.join(BENCH, 'scenarios', name)], stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            row = from_line(line)
            if row:
                rows.append(row)
            elif line.strip():
                sys.stderr.write(line)
    if running.returncode not in (0, BEYOND_A_LIMIT):
        raise Failed(f'{name} ended with {running.returncode}')
    return rows


def of_bench(name):
    program = os.path.join(BUILT, name)
    if not os.access(program, os.X_OK):
        raise Failed(f'{program} is missing: cmake --preset release && cmake --build --preset release')
    repetitions = int(os.environ.get('ROUNDS', REPETITIONS))
    with tempfile.NamedTemporaryFile(suffix='.json') as out:
        ended = subprocess.run([program, f'--benchmark_out={out.name}', '--benchmark_out_format=json',
                                f'--benchmark_repetitions={repetitions}', '--benchmark_report_aggregates_only=true',
                                '--benchmark_enable_random_interleaving=true',
                                f'--benchmark_min_time={LEAST_S}', f'--benchmark_min_warmup_time={WARM_UP_S}'], stdout=sys.stderr, check=False)
        if ended.returncode != 0:
            raise Failed(f'{name} ended with {ended.returncode}')
        rows = rows_of_json(json.load(out))
    return with_limits(name, rows)


# What Google Benchmark itself writes of each; anything else is a counter of the program.
NO_COUNTERS = {'name', 'family_index', 'per_family_instance_index', 'run_name', 'run_type', 'repetitions', 'threads',
               'aggregate_name', 'aggregate_unit', 'iterations', 'real_time', 'cpu_time', 'time_unit', 'label',
               'repetition_index', 'error_occurred', 'error_message'}
RATES = {'bytes_per_second': ('bytes', 'GiB/s', 2 ** 30), 'items_per_second': ('items', 'k/s', 1000)}


def rows_of_json(document):
    """Medians; of processor time, unless the benchmark asks for real time, because then it waits for something."""
    rows = []
    # They ran in any order.
    for entry in sorted(document['benchmarks'], key=lambda each: (each['family_index'], each['per_family_instance_index'])):
        if entry.get('error_occurred'):
            raise Failed(f"{entry['name']}: {entry.get('error_message', '')}")
        if entry.get('aggregate_name') != 'median':
            continue
        is_real = '/real_time' in entry['run_name']
        parts = [part for part in entry['run_name'].split('/') if part not in ('real_time', 'process_time')]
        name = '/'.join(part for part in parts if not part.startswith(('iterations:', 'repeats:')))
        common = {'repeats': entry['repetitions'], 'warmup': 1}
        rows.append(Row(name, entry['real_time' if is_real else 'cpu_time'], entry['time_unit'], **common))
        for key in sorted(entry.keys() - NO_COUNTERS):
            what, unit, divisor = RATES.get(key, (key, '', 1))
            rows.append(Row(f'{name}: {what}', entry[key] / divisor, unit, **common))
    return rows


def with_limits(bench, rows):
    """With what bench/limits.json says of them: a ratio of two rows, or a limit of one."""
    with open(os.path.join(BENCH, 'limits.json'), encoding='utf-8') as file:
        limits = [limit for limit in json.load(file) if limit['bench'] == bench]
    by_name = {row.name: row for row in rows}
    for limit in limits:
        for key in ('of', 'by'):
            if limit.get(key, limit['of']) not in by_name:
                raise Failed(f"{bench} has no {limit[key]}, which bench/limits.json names")
        row = by_name[limit['of']]
        if 'by' in limit:
            row = Row(limit['name'], row.value / by_name[limit['by']].value, 'x', repeats=row.repeats, warmup=row.warmup)
            rows.append(row)
        row.limit, row.least = limit.get('limit'), limit.get('least')
    return rows
