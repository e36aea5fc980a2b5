#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Line coverage by file, from what the programs of V=cover left behind (make cover)."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OBJECTS = os.path.join(ROOT, 'build', 'cover', 'obj')


def main():
    covered = {}
    for directory, _, names in os.walk(OBJECTS):
        data = [os.path.join(directory, n) for n in names if n.endswith('.gcda')]
        if not data or '/tests/' in directory + '/' or '/gen' in directory:
            continue
        out = subprocess.run(['gcov', '--json-format', '--stdout', *data], cwd=ROOT, capture_output=True, text=True,
                             check=False).stdout
        for text in filter(None, out.split('\n')):
            for file in json.loads(text)['files']:
                if not file['file'].startswith(('proto/', 'broker/', 'metad/', 'clients/')):
                    continue
                lines = covered.setdefault(file['file'], {})
                for line in file['lines']:
                    number = line['line_number']
                    lines[number] = max(lines.get(number, 0), line['count'])
    if not covered:
        print('nothing was covered: run make cover', file=sys.stderr)
        return 1
    hit = total = 0
    for path, lines in sorted(covered.items()):
        count = sum(c > 0 for c in lines.values())
        hit, total = hit + count, total + len(lines)
        print(f'  {100 * count / max(1, len(lines)):6.1f} %  {count:5} of {len(lines):5}  {path}')
    print(f'{100 * hit / total:.1f} % of {total} lines')
    return 0


if __name__ == '__main__':
    sys.exit(main())
