#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""All lints, over the files that git knows or would add: layers, words, licences, READMEs, headers, symbols, format.

    lint.py [NAME ...]      only these: layers words licence readme headers symbols format
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import layers  # noqa: E402
import symbols  # noqa: E402
import words  # noqa: E402

CODE = ('.c', '.h', '.py', '.sh')


def files():
    """What git tracks or would; without git (an unpacked archive), what lies there."""
    done = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        found = done.stdout.split('\0')
    else:
        found = [os.path.relpath(os.path.join(directory, name), ROOT)
                 for directory, _, names in os.walk(ROOT) for name in names]
        found = [f for f in found if not f.startswith(('build/', '.git/')) and '__pycache__' not in f]
    return sorted({f for f in found if f and os.path.isfile(os.path.join(ROOT, f))})


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf8', errors='replace') as f:
        return f.read()


def lint_layers(all_files):
    for path in all_files:
        if path.endswith(('.c', '.h')):
            yield from layers.check(path, read(path))


def lint_words(all_files):
    for path in all_files:
        if path.endswith(('.c', '.h', '.md', '.proto')) and path != 'docs/glossary.md':
            yield from words.check(path, read(path))


def lint_licence(all_files):
    """SPDX in the first two lines (a script's first is the interpreter)."""
    for path in all_files:
        if path.endswith(CODE + ('.proto',)) or os.path.basename(path) in ('Makefile', 'Dockerfile'):
            text = read(path)
            if text.strip() and 'SPDX-License-Identifier: Apache-2.0' not in '\n'.join(text.split('\n')[:2]):
                yield f'{path}:1: the SPDX line is missing'


def lint_readme(all_files):
    """A folder with code has a README.md that mentions each of its files; test programs are found by name."""
    folders = {}
    for path in all_files:
        if path.endswith(CODE) and '/' in path:
            folders.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
    for folder, names in sorted(folders.items()):
        if folder.startswith(('tests/unit/', 'tests/golden/', 'tests/fault/', 'tests/fuzz/')):
            continue
        readme = os.path.join(folder, 'README.md')
        parent = os.path.join('clients', 'README.md') if folder.startswith('clients/include') else \
            os.path.join(os.path.dirname(folder), 'README.md')
        if not os.path.exists(os.path.join(ROOT, readme)):
            # A package or an include folder is described one level up.
            inner = folder.startswith(('clients/python/', 'clients/include/'))
            if not inner or not os.path.exists(os.path.join(ROOT, parent)):
                yield f'{readme}: is missing, for {len(names)} files'
                continue
            readme = parent
        text = read(readme)
        for name in names:
            if name not in text and name != '__init__.py':
                yield f'{readme}: does not mention {name}'


def lint_headers(all_files):
    """Each header compiles alone, from the repository root."""
    headers = [f for f in all_files if f.endswith('.h')]
    flags = ['-std=c11', '-D_GNU_SOURCE', '-DSLUICE_VERSION="lint"', '-I.', '-Iclients/include', '-Ibuild/gen',
             '-Ibuild/gen/proto/schema', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c']
    with tempfile.TemporaryDirectory() as directory:
        def one(header):
            source = os.path.join(directory, header.replace('/', '_') + '.c')
            with open(source, 'w', encoding='utf8') as f:
                # Twice: the guard works, too.
                f.write(f'#include "{header}"\n#include "{header}"\n')
            done = subprocess.run(['gcc', *flags, source], cwd=ROOT, capture_output=True, text=True, check=False)
            return f'{header}:1: does not compile alone:\n{done.stderr}' if done.returncode else None
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from filter(None, pool.map(one, headers))


def lint_symbols(_):
    yield from symbols.check(os.path.join(ROOT, 'build', 'debug', 'rooms'))


def lint_format(all_files):
    sources = [f for f in all_files if f.endswith(('.c', '.h'))]
    tool = os.environ.get('CLANG_FORMAT', 'clang-format-14')

    def one(path):
        done = subprocess.run([tool, path], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            return f'{path}: {done.stderr.strip()}'
        return None if done.stdout == read(path) else f'{path}: make fmt would change it'
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(one, sources))


LINTS = {name[len('lint_'):]: f for name, f in list(globals().items()) if name.startswith('lint_')}


def main():
    chosen = sys.argv[1:] or list(LINTS)
    all_files = files()
    failed = 0
    for name in chosen:
        problems = sorted(LINTS[name](all_files))
        for problem in problems:
            print(problem)
        print(f'lint {name}: {len(problems)} problems' if problems else f'lint {name}: ok', flush=True)
        failed += bool(problems)
    print(f'{len(chosen) - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
