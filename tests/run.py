#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests and ends with one line: N passed, N failed.

    run.py [--variant debug] [--suites unit,golden,fault,system] [T]   run (make builds first)
    run.py --list [T]           the test programs that T selects, below build/<variant>/
    run.py --fuzz NAME          one fuzzer until it finds something
    run.py --fuzz-smoke SECONDS all fuzzers, that long together
    run.py --examples FILE...   each against a standalone broker of its own

T is folder/module[/case]: log/segment, proto/wire/batch, fault/log/append, system/test_produce,
log/segment/*wrong_offset*. A folder may be given by its last part alone.

A test program is one file's cmocka program (tests/<suite>/<room>/test_<module>.c). Each runs in a
temporary directory of its own, with a deadline; output is shown when something failed.
"""
import argparse
import concurrent.futures
import fnmatch
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUITES = ['unit', 'golden', 'fault']
SLOW = {'debug': 1, 'release': 1, 'asan': 4, 'tsan': 10, 'cover': 2}
PROGRAM_DEADLINE_S = 120
SYSTEM_DEADLINE_S = 1800


class Result:
    """What one program (or pytest run) came to."""

    def __init__(self, name, passed=0, failed=(), skipped=0, output='', seconds=0.0, hint=''):
        self.name, self.passed, self.failed, self.skipped = name, passed, list(failed), skipped
        self.output, self.seconds, self.hint = output, seconds, hint


def select(text):
    """T as (suite or None, room or None, module or None, case or None)."""
    parts = [p for p in (text or '').strip('/').split('/') if p]
    suite = parts.pop(0) if parts and parts[0] in SUITES + ['system'] else None
    if suite == 'system':
        return suite, None, parts[0] if parts else None, '/'.join(parts[1:]) or None
    sources = glob.glob(os.path.join(ROOT, 'tests', '*', '*', 'test_*.c'))
    rooms = {os.path.basename(os.path.dirname(s)) for s in sources}
    # The longest run of parts that names a room; then a module; what is left is a case.
    for n in range(len(parts), 0, -1):
        folder = '_'.join(parts[:n])
        if any(r == folder or r.endswith('_' + folder) for r in rooms):
            rest = parts[n:]
            return suite, folder, rest[0] if rest else None, '/'.join(rest[1:]) or None
    if parts:
        return suite, None, parts[0], '/'.join(parts[1:]) or None
    return suite, None, None, None


def programs(text, suites=SUITES):
    """Test programs that T selects, as paths below build/<variant>."""
    suite, folder, module, _ = select(text)
    found = []
    for s in suites:
        if suite and s != suite or s not in SUITES:
            continue
        for source in sorted(glob.glob(os.path.join(ROOT, 'tests', s, '*', 'test_*.c'))):
            room = os.path.basename(os.path.dirname(source))
            name = os.path.basename(source)[len('test_'):-len('.c')]
            if folder and room != folder and not room.endswith('_' + folder):
                continue
            if module and not fnmatch.fnmatch(name, module.removeprefix('test_')):
                continue
            found.append(os.path.relpath(source, ROOT)[:-len('.c')])
    return found


def stop(process):
    """Ends a process group that this runner started."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sig)
            process.wait(5)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def run_captured(command, deadline_s, env, cwd=ROOT):
    """(exit status or None after the deadline, output)."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            status = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            stop(process)
            status = None
        out.seek(0)
        return status, out.read().decode(errors='replace')


def run_program(variant, program, case):
    slow = SLOW.get(variant, 1) * float(os.environ.get('TEST_SLOW', 1))
    directory = tempfile.mkdtemp(prefix='sluice-test-')
    env = dict(os.environ, TMPDIR=directory, TEST_SLOW=str(slow), CMOCKA_MESSAGE_OUTPUT='STDOUT',
               ASAN_OPTIONS='abort_on_error=0:detect_stack_use_after_return=1',
               UBSAN_OPTIONS='print_stacktrace=1',
               TSAN_OPTIONS='second_deadlock_stack=1')
    command = [os.path.join('build', variant, program)] + ([case] if case else [])
    start = time.monotonic()
    status, output = run_captured(command, PROGRAM_DEADLINE_S * slow, env)
    result = Result(program.removeprefix('tests/'), seconds=time.monotonic() - start, output=output,
                    hint=f'make {variant if variant in ("asan", "tsan") else "test"} '
                         f'T={program.removeprefix("tests/").replace("/test_", "/")}')
    last = None
    for line in output.splitlines():
        match = re.match(r'\[ *(RUN|OK|FAILED|SKIPPED) *\] (.+)$', line)
        if not match or re.match(r'\d+ test\(s\)', match.group(2)):
            continue
        kind, name = match.groups()
        if kind == 'RUN':
            last = name
        elif kind == 'OK':
            result.passed, last = result.passed + 1, None
        elif kind == 'SKIPPED':
            if name == last:
                result.skipped, last = result.skipped + 1, None
        elif name not in result.failed:
            result.failed.append(name)
            last = None
    if status is None:
        result.failed.append(f'{last or "program"} (no end after {PROGRAM_DEADLINE_S * slow:.0f} s)')
    elif status != 0 and (last or not result.failed):
        result.failed.append(f'{last or "program"} (exit status {status})')
    if not (result.passed or result.failed or result.skipped or case):
        result.failed.append('program (ran no test)')
    if result.failed:
        result.hint += f'   [files kept in {directory}]'
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def run_system(module, case):
    """Results of tests/system, one for each file; pytest prints its own progress."""
    path = os.path.join(ROOT, 'tests', 'system')
    if not glob.glob(os.path.join(path, 'test_*.py')):
        return []
    target = path
    if module:
        target = os.path.join(path, 'test_' + module.removeprefix('test_').removesuffix('.py') + '.py')
    results = {}
    with tempfile.NamedTemporaryFile(suffix='.xml') as xml_file:
        command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--junitxml',
                   xml_file.name, target] + (['-k', case.strip('*')] if case else [])
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdin=subprocess.DEVNULL)
        try:
            status = process.wait(SYSTEM_DEADLINE_S)
        except subprocess.TimeoutExpired:
            stop(process)
            status = None
        try:
            nodes = list(xml.etree.ElementTree.parse(xml_file.name).iter('testcase'))
        except xml.etree.ElementTree.ParseError:
            nodes = []
    for node in nodes:
        name = node.get('classname').split('.')[-1].removeprefix('test_')
        result = results.setdefault(name, Result('system/' + name, hint=f'make system T=system/{name}/TEST'))
        result.seconds += float(node.get('time') or 0)
        if node.find('failure') is not None or node.find('error') is not None:
            if node.get('name') not in result.failed:
                result.failed.append(node.get('name'))
        elif node.find('skipped') is not None:
            result.skipped += 1
        else:
            result.passed += 1
    # 5: nothing was selected, which the caller notices.
    if status not in (0, 5) and not any(r.failed for r in results.values()):
        results[''] = Result('system', failed=[f'pytest (exit status {status})'])
    return list(results.values())


def report(results):
    """Prints failures in full and the summary; returns the exit status."""
    for r in results:
        if r.failed and r.output:
            print(f'\n--- {r.name}\n{r.output.rstrip()[-20000:]}')
    failed = [(r, name) for r in results for name in r.failed]
    if failed:
        print('\nfailed:')
        for r, name in failed:
            print(f'  {r.name}: {name}\n      {r.hint}')
    skipped = sum(r.skipped for r in results)
    print(f'{sum(r.passed for r in results)} passed, {len(failed)} failed'
          + (f', {skipped} skipped' if skipped else ''), flush=True)
    return 1 if failed else 0


def show(result, verbose=True):
    if verbose:
        mark = 'FAILED' if result.failed else 'ok'
        print(f'  {mark:7}{result.name:48}{result.passed:5} tests {result.seconds:7.2f} s', flush=True)


def run_tests(variant, suites, text):
    suite, _, module, case = select(text)
    chosen = programs(text, suites)
    results = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda p: run_program(variant, p, case), chosen):
            show(result)
            results.append(result)
    if 'system' in suites and (suite == 'system' or not text):
        results += run_system(module, case)
    if text and not any(r.passed or r.failed or r.skipped for r in results):
        print(f'no test is named {text}', file=sys.stderr)
        return 1
    return report(results)


# --- fuzzers -----------------------------------------------------------------------------------


def fuzzers():
    return sorted(glob.glob(os.path.join(ROOT, 'tests', 'fuzz', '*', 'fuzz_*.c')))


def fuzz_command(source, *options):
    room, name = source.split(os.sep)[-2:]
    name = name[len('fuzz_'):-len('.c')]
    corpus = os.path.join(ROOT, 'build', 'fuzz', 'corpus', room, name)
    found = os.path.join(ROOT, 'build', 'fuzz', 'found', '')
    os.makedirs(corpus, exist_ok=True)
    os.makedirs(found, exist_ok=True)
    seeds = os.path.join(os.path.dirname(source), 'seeds', name)
    program = os.path.join(ROOT, 'build', 'fuzz', 'tests', 'fuzz', room, 'fuzz_' + name)
    command = [program, f'-artifact_prefix={found}{name}-', '-rss_limit_mb=1024', '-timeout=10',
               *options, corpus]
    return command + ([seeds] if os.path.isdir(seeds) else [])


def run_fuzz_smoke(seconds):
    sources = fuzzers()
    workers = os.cpu_count() or 1
    each = max(2, int(seconds * workers / max(1, len(sources))))

    def one(source):
        name = os.path.relpath(source, os.path.join(ROOT, 'tests', 'fuzz'))[:-2]
        start = time.monotonic()
        status, output = run_captured(fuzz_command(source, f'-max_total_time={each}', '-print_final_stats=1'),
                                      each * 10 + 60, dict(os.environ))
        runs = re.search(r'number_of_executed_units: (\d+)', output)
        result = Result(name, passed=int(status == 0), output=output, seconds=time.monotonic() - start,
                        hint=f'make fuzz T={os.path.basename(name)[5:]}; inputs in build/fuzz/found/')
        if status != 0:
            result.failed.append(f'exit status {status}')
        print(f'  {"FAILED" if status else "ok":7}{name:48}{int(runs.group(1)) if runs else 0:10} runs '
              f'{result.seconds:7.1f} s', flush=True)
        return result

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return report(list(pool.map(one, sources)))


def run_fuzz(name):
    for source in fuzzers():
        if os.path.basename(source) in (f'fuzz_{name}.c', f'{name}.c'):
            command = fuzz_command(source)
            os.execv(command[0], command)
    print(f'no fuzzer is named {name}', file=sys.stderr)
    return 2


# --- examples ----------------------------------------------------------------------------------


def start_broker(directory):
    """A standalone broker on free ports: (process, {name: address})."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [os.path.join(ROOT, 'build', 'bin', 'sluice-broker'), '--standalone',
         '--set', f'data.dirs={directory}', '--set', 'listener=127.0.0.1:0',
         '--set', 'metad.listener=127.0.0.1:0', '--ready-fd', str(write_end)],
        pass_fds=[write_end], start_new_session=True, stdin=subprocess.DEVNULL,
        stderr=open(os.path.join(directory, 'diag'), 'w'))
    os.close(write_end)
    with os.fdopen(read_end) as ready:
        addresses = dict(line.split() for line in ready)
    if 'metad' not in addresses:
        stop(process)
        raise RuntimeError('sluice-broker did not start:\n' + open(os.path.join(directory, 'diag')).read())
    return process, addresses


def run_examples(files):
    results = []
    for path in files:
        with tempfile.TemporaryDirectory(prefix='sluice-example-') as directory:
            process, addresses = start_broker(directory)
            try:
                start = time.monotonic()
                status, output = run_captured([os.path.abspath(path)], 60,
                                              dict(os.environ, SLUICE_BOOTSTRAP=addresses['metad']), directory)
                result = Result(os.path.basename(path), int(status == 0), seconds=time.monotonic() - start,
                                output=output, hint='make examples')
                if status != 0:
                    result.failed.append(f'exit status {status}')
                show(result)
                results.append(result)
            finally:
                stop(process)
    return report(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--variant', default='debug')
    parser.add_argument('--suites', default='unit,golden,fault,system')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--fuzz', metavar='NAME')
    parser.add_argument('--fuzz-smoke', type=int, metavar='SECONDS')
    parser.add_argument('--examples', nargs='*', metavar='FILE')
    parser.add_argument('T', nargs='?', default='')
    args = parser.parse_args()
    os.chdir(ROOT)
    if args.list:
        print('\n'.join(programs(args.T)))
        return 0
    if args.fuzz:
        return run_fuzz(args.fuzz)
    if args.fuzz_smoke:
        return run_fuzz_smoke(args.fuzz_smoke)
    if args.examples is not None:
        return run_examples(args.examples)
    return run_tests(args.variant, args.suites.split(','), args.T)


if __name__ == '__main__':
    sys.exit(main())
