# SPDX-License-Identifier: Apache-2.0
"""One word for one thing: what docs/glossary.md calls by one name is not called by another.

Looks at names and comments of C sources and at pages. A line may say why it is right: (words: ok).
"""
import re

# What must not be said -> what is said instead, and where it does not apply.
BANNED = [
    (r'\blogger\b|\blogging\b|\blog_(?:error|warn|info|debug|printf)\b', 'diag: the log is the commit log', ()),
    (r'\bmessage[_ ]set\b|\brecord[_ ]set\b', 'batch', ()),
    (r'\bmaster\b|\bslave\b', 'leader, follower', ()),
    (r'\bwhitelist\b|\bblacklist\b', 'allowed, refused', ()),
    (r'\bhighwater\b|\bhwm\b|\bhigh_water\b', 'high watermark', ()),
    (r'\bzk_|\bzoo_(?!keeper)', 'coord: ZooKeeper is one implementation', ('metad/coord/',)),
    (r'\bLEO\b', 'log end', ()),
]
TODO = re.compile(r'\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))')


def check(path, text):
    for number, line in enumerate(text.split('\n'), 1):
        if '(words: ok)' in line:
            continue
        for pattern, instead, excepted in BANNED:
            if any(path.startswith(e) for e in excepted):
                continue
            match = re.search(pattern, line)
            if match:
                yield f'{path}:{number}: "{match.group(0)}": say {instead}'
        if not path.endswith('.md') and TODO.search(line):
            yield f'{path}:{number}: a TODO names its issue: TODO(#12)'
