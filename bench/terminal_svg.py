#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""terminal_svg.py COLUMNS ROWS <RECORDED >PICTURE.svg: what a terminal shows in the end of what was written to it.

Knows what `rsyncfs status --watch` uses: characters, new lines, SGR colours, home, and erasing to the end of the line or
the screen. E.g.  script -qc 'stty cols 96 rows 24; timeout 5 rsyncfs status --watch' /dev/null | terminal_svg.py 96 24
"""
import html
import re
import sys

COLOURS = {"31": "#f7768e", "32": "#9ece6a", "33": "#e0af68", "36": "#7dcfff", "2": "#7a819e", "1": "#ffffff"}
BACKGROUND, FOREGROUND = "#1a1b26", "#c0caf5"
WIDTH, HEIGHT, MARGIN = 8.4, 18, 12


def screen(text, columns, rows):
    cells = [[(" ", "0")] * columns for _ in range(rows)]
    row = column = 0
    style = "0"
    for match in re.finditer(r"\x1b\[([0-9;?]*)([A-Za-z])|\r|\n|[^\x1b\r\n]", text):
        token = match.group(0)
        if match.group(2) == "H":
            row = column = 0
        elif match.group(2) == "m":
            style = match.group(1) or "0"
        elif match.group(2) == "K" and row < rows:
            cells[row][column:] = [(" ", "0")] * (columns - column)
        elif match.group(2) == "J":
            for line in range(0 if match.group(1) == "2" else row, rows):
                cells[line] = [(" ", "0")] * columns
        elif token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
        elif match.group(2) is None and row < rows and column < columns:
            cells[row][column] = (token, style)
            column += 1
    return cells


def main():
    columns, rows = int(sys.argv[1]), int(sys.argv[2])
    cells = screen(sys.stdin.buffer.read().decode("utf-8", "replace"), columns, rows)
    while cells and all(character == " " for character, _ in cells[-1]):
        cells.pop()
    width, height = columns * WIDTH + 2 * MARGIN, len(cells) * HEIGHT + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
          f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">')
    print(f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>')
    for number, line in enumerate(cells):
        at = 0
        while at < len(line):
            end = at
            while end < len(line) and line[end][1] == line[at][1]:
                end += 1
            text = "".join(character for character, _ in line[at:end])
            if text.strip():
                colour = COLOURS.get(line[at][1], FOREGROUND)
                weight = ' font-weight="bold"' if line[at][1] == "1" else ""
                print(f'<text x="{MARGIN + at * WIDTH:.1f}" y="{MARGIN + (number + 0.75) * HEIGHT:.1f}" fill="{colour}"{weight} '
                      f'textLength="{len(text) * WIDTH:.1f}" xml:space="preserve">{html.escape(text)}</text>')
            at = end
    print("</svg>")


main()
