# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: of each program its rows, and where, when and of what they were measured. One JSON file has those of a run of
bench/run; bench/results has a file for each program, of which bench/RESULTS.md is made."""
import datetime
import json
import os
import time

from runner import machine, programs
from runner.rows import from_json

PUBLISHED = os.path.join(programs.BENCH, 'results')
FORMAT = 1


class Refused(Exception):
    """Numbers that are no results."""


def check(name, rows):
    """Raises Refused, with a line for each row that is no result."""
    if not rows:
        raise Refused(f'{name} printed no row')
    names = [row.name for row in rows]
    refused = [f'{name}: "{row.name}" {row.refusal()}' for row in rows if row.refusal()]
    refused += [f'{name}: "{each}" is there more than once' for each in sorted(set(names)) if names.count(each) > 1]
    if refused:
        raise Refused('\n'.join(refused))


def measured(name):
    """What one program has to say now."""
    result = {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'machine': machine.machine(os.environ.get('BENCH_DIR', '/tmp')),
        **machine.commit(programs.TOP),
        'load_before': machine.load(),
    }
    begin = time.monotonic()
    rows = programs.measure(name)
    result['seconds'] = round(time.monotonic() - begin)
    result['load_after'] = machine.load()
    check(name, rows)
    result['rows'] = rows
    return result


def text_of(result):
    """JSON with a row on a line of its own, so that a change is one line of a diff."""
    heads = [f'   {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}' for key, value in result.items() if key != 'rows']
    rows = ',\n'.join(f'    {json.dumps(row.as_json(), ensure_ascii=False)}' for row in result['rows'])
    return ',\n'.join(heads + [f'   "rows": [\n{rows}\n   ]'])


def write(path, results):
    texts = [f'  {json.dumps(name)}: {{\n{text_of(result)}\n  }}' for name, result in sorted(results.items())]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{{\n "format": {FORMAT},\n "programs": {{\n' + ',\n'.join(texts) + '\n }\n}\n')


def read(path):
    with open(path, encoding='utf-8') as file:
        document = json.load(file)
    if document.get('format') != FORMAT:
        raise Refused(f'{path} has another format')
    return {name: {**result, 'rows': [from_json(row) for row in result['rows']]}
            for name, result in document['programs'].items()}


def published():
    results = {}
    for name in sorted(os.listdir(PUBLISHED)):
        if name.endswith('.json'):
            results.update(read(os.path.join(PUBLISHED, name)))
    return results


def publish(results):
    """A note that somebody wrote about a program's results stays only with these."""
    for name, result in results.items():
        write(os.path.join(PUBLISHED, f'{name}.json'), {name: result})
