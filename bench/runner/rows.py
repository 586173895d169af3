# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program measured: one number a row."""
import json
from dataclasses import asdict, dataclass
from typing import Optional

LEAST_REPEATS = 3


@dataclass
class Row:
    name: str
    value: float
    unit: str
    limit: Optional[float] = None  # the most it may be
    least: Optional[float] = None  # the least it may be
    repeats: Optional[int] = None  # the value is a median of so many, after `warmup` that were dropped
    warmup: int = 0
    exact: bool = False  # one run is enough: every run has the same, but for `tolerance` (a fraction)
    tolerance: float = 0.0
    peer: bool = False  # of what the product is compared with

    @property
    def more_is_better(self):
        return self.least is not None or self.unit.endswith('/s')

    @property
    def is_beyond(self):
        return (self.limit is not None and self.value > self.limit) or \
               (self.least is not None and self.value < self.least)

    @property
    def bound_text(self):
        if self.least is not None:
            return f'at least {number(self.least)}'
        return '' if self.limit is None else number(self.limit)

    def refusal(self):
        """Why this is no result; None: it is one."""
        if self.exact:
            return None
        if self.repeats is None:
            return 'does not say how often it was measured'
        if self.repeats < LEAST_REPEATS:
            return f'was measured {self.repeats} times, and {LEAST_REPEATS} are needed'
        if self.warmup < 1:
            return 'was measured without warm-up'
        return None

    def as_json(self):
        return {key: value for key, value in asdict(self).items() if value or key in ('name', 'value', 'unit')}


def from_json(fields):
    known = Row.__dataclass_fields__
    return Row(**{key: value for key, value in fields.items() if key in known})


def from_line(line):
    """A line of a scenario; None: it is another kind of line."""
    if not line.startswith('{"scenario":'):
        return None
    return from_json(json.loads(line))


def number(value):
    """As people read it: four digits, whole numbers in full."""
    if isinstance(value, int) or value == int(value):
        return str(int(value))
    return f'{value:.4g}' if abs(value) < 1000 else f'{value:.0f}'
