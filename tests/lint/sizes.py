#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The twenty longest functions, and the lines of each room now and at main (or the revision given)."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRODUCT = ('proto/', 'broker/', 'metad/', 'clients/')


def git(*words):
    return subprocess.run(['git', *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout


def functions(path, text):
    """(lines, path:line, name) of each function: house style puts both braces into the first column."""
    start = name = None
    lines = text.split('\n')
    for number, line in enumerate(lines, 1):
        if line == '{' and start is None:
            for back in range(number - 2, max(-1, number - 12), -1):
                match = re.match(r'[A-Za-z_].*?\b(\w+)\(', lines[back])
                if match:
                    start, name = number, match.group(1)
                    break
        elif line == '}' and start is not None:
            yield number - start + 1, f'{path}:{start}', name
            start = None


def room_lines(listing):
    rooms = {}
    for path, count in listing:
        room = '/'.join(path.split('/')[:2])
        rooms[room] = rooms.get(room, 0) + count
    return rooms


def main():
    base = sys.argv[1] if len(sys.argv) > 1 else 'main'
    paths = [p for p in git('ls-files', '*.c', '*.h').split('\n') if p.startswith(PRODUCT)]
    texts = {p: open(os.path.join(ROOT, p), encoding='utf8').read() for p in paths if os.path.exists(os.path.join(ROOT, p))}
    found = sorted((f for p, t in texts.items() for f in functions(p, t)), reverse=True)
    print('longest functions:')
    for lines, place, name in found[:20]:
        print(f'  {lines:5}  {name:40} {place}')
    now = room_lines((p, t.count('\n')) for p, t in texts.items())
    before = room_lines((p, git('show', f'{base}:{p}').count('\n'))
                        for p in git('ls-tree', '-r', '--name-only', base).split('\n')
                        if p.endswith(('.c', '.h')) and p.startswith(PRODUCT))
    print(f'\nlines of each room, and the change since {base}:')
    for room in sorted(now):
        print(f'  {now[room]:6}  {now[room] - before.get(room, 0):+6}  {room}')
    if found:
        median = sorted(f[0] for f in found)[len(found) // 2]
        print(f'\n{len(found)} functions, median {median} lines, {sum(f[0] > 70 for f in found)} over 70')


if __name__ == '__main__':
    main()
