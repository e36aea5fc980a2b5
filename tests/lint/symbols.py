# SPDX-License-Identifier: Apache-2.0
"""No global symbol is defined twice, by two rooms or by two files of one.

An archive's member is only linked if somebody wants it, so that two functions of one name go unnoticed until a
program happens to want both, or silently gets the wrong one.
"""
import glob
import os
import subprocess


def definitions(archive):
    """(symbol, object file) of all that other files could link to."""
    done = subprocess.run(['nm', '--extern-only', '--defined-only', '--print-file-name', '--format=posix', archive],
                          capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        # room.a[file.o]: name type value size
        where, _, what = line.partition(']: ')
        name, kind = what.split()[:2]
        if kind not in 'WwVvu':  # weak ones may be there several times
            yield name, where.partition('[')[2]


def check(directory):
    """A sentence for each symbol; directory: that of the rooms' archives, as make leaves them."""
    archives = [a for a in glob.glob(os.path.join(directory, '*.a')) if not a.endswith('tests_support.a')]
    if not archives:
        yield f'{directory}: there are no archives: make V=debug rooms'
    seen = {}
    for archive in sorted(archives):
        room = os.path.basename(archive).removesuffix('.a')
        for name, member in definitions(archive):
            seen.setdefault(name, []).append(f'{room}[{member}]')
    for name, places in sorted(seen.items()):
        if len(places) > 1:
            yield f'{name}: defined by {" and by ".join(places)}'
