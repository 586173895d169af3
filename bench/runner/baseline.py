# SPDX-License-Identifier: GPL-3.0-or-later
"""Results beside earlier ones."""
from dataclasses import dataclass
from typing import Optional

from runner.rows import Row, number


@dataclass
class Comparison:
    program: str
    before: Row
    now: Optional[Row]  # None: it is not measured any more
    tolerance: float

    @property
    def ratio(self):
        """How many times as much as before; None: before it was nothing, or there is nothing now."""
        return self.now.value / self.before.value if self.now and self.before.value else None

    @property
    def is_worse(self):
        if self.now is None or self.now.peer:
            return False
        if self.now.more_is_better:
            return self.now.value * (1 + self.tolerance) < self.before.value
        return self.now.value > self.before.value * (1 + self.tolerance)


def compare(before, now, tolerance, count_tolerance):
    """All rows of the programs that both have. What was counted is compared with its own tolerance."""
    comparisons = []
    for program in sorted(before.keys() & now.keys()):
        rows = {row.name: row for row in now[program]['rows']}
        for row in before[program]['rows']:
            allowed = max(row.tolerance, count_tolerance) if row.exact else tolerance
            comparisons.append(Comparison(program, row, rows.get(row.name), allowed))
    return comparisons


def table(comparisons):
    lines = ['| program | what | before | now | unit | ratio | |', '|---|---|---:|---:|---|---:|---|']
    for each in comparisons:
        now = 'gone' if each.now is None else number(each.now.value)
        ratio = '' if each.ratio is None else f'{each.ratio:.3f}'
        verdict = f'worse by more than {each.tolerance:.0%}' if each.is_worse else ''
        lines.append(f'| {each.program} | {each.before.name} | {number(each.before.value)} | {now} | {each.before.unit} | '
                     f'{ratio} | {verdict} |')
    return '\n'.join(lines) + '\n'


def differences(before, now):
    """What else is not the same of two sets of results, in words."""
    said = []
    for program in sorted(before.keys() & now.keys()):
        old, new = before[program]['machine'], now[program]['machine']
        said += [f'{program}: {key} was {old.get(key)}, is {new.get(key)}' for key in new if old.get(key) != new.get(key)]
    return said
