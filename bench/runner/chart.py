# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of rows: bars, with a line where the limit is."""
from html import escape

from runner.rows import number

FULL = 300  # pixels of a bar of the full scale
WORDS = 300  # and behind it
STEP = 24
PIXELS_OF_A_LETTER = 6.6
WITHIN, BEYOND = '#2e86c1', '#c0392b'


class Picture:
    def __init__(self, labels):
        """`labels`: all that stand before bars."""
        self.left = 20 + round(max(map(len, labels), default=0) * PIXELS_OF_A_LETTER)
        self.width = self.left + FULL + WORDS
        self.height = 10
        self.parts = []

    def text(self, x, y, words, anchor='start', weight='normal'):
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>')

    def bar(self, label, part, limit_part, words, beyond):
        """`part` and `limit_part` of the full scale; limit_part None: there is none."""
        y = self.height
        width = max(0.0, min(part, 1.0)) * FULL
        self.text(self.left - 8, y + 13, label, anchor='end')
        self.parts.append(f'<rect x="{self.left}" y="{y}" width="{width:.1f}" height="18" fill="{BEYOND if beyond else WITHIN}"/>')
        end = width
        if limit_part is not None:
            x = self.left + limit_part * FULL
            end = max(end, limit_part * FULL)
            self.parts.append(f'<line x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + 20}" stroke="black" stroke-width="2"/>')
        self.text(self.left + end + 6, y + 13, words)
        self.height += STEP

    def title(self, words):
        self.height += 8
        self.text(self.left - 8, self.height + 10, words, anchor='end', weight='bold')
        self.height += 18

    def svg(self):
        size = f'width="{self.width}" height="{self.height + 6}"'
        return ('<!-- SPDX-License-Identifier: GPL-3.0-or-later -->\n'
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
                f'<rect {size} fill="white"/>\n' + '\n'.join(self.parts) + '\n</svg>\n')


def words_of(row):
    words = f'{number(row.value)} {row.unit}'.rstrip()
    return words + (f' (limit: {row.bound_text})' if row.bound_text else '')


def of_limits(results):
    """Every row with a limit, as a part of it; of those that are to be large, the limit as a part of the row."""
    limited = [(program, row) for program, result in sorted(results.items()) for row in result['rows']
               if row.limit is not None or row.least is not None]
    picture = Picture([f'{program}: {row.name}' for program, row in limited])
    for program, row in limited:
        if row.least is not None:
            part = row.least / row.value if row.value else 2.0
        else:
            part = row.value / row.limit if row.limit else (2.0 if row.value else 0.0)
        picture.bar(f'{program}: {row.name}', min(part, 1.5) / 1.5, 1 / 1.5, words_of(row), row.is_beyond)
    return picture.svg()


def of_program(result):
    """All its rows; those of one unit have one scale."""
    picture = Picture([row.name for row in result['rows']])
    units = {}
    for row in result['rows']:
        units.setdefault(row.unit, []).append(row)
    for unit, rows in units.items():
        picture.title(unit or 'count')
        limits = [bound for row in rows for bound in (row.limit, row.least) if bound is not None]
        scale = max([row.value for row in rows] + limits) or 1
        for row in rows:
            bound = row.limit if row.limit is not None else row.least
            picture.bar(row.name, row.value / scale, None if bound is None else bound / scale, words_of(row), row.is_beyond)
    return picture.svg()
