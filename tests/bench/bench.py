#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Floor programs and Sluice side by side.

    bench.py [--smoke] [--rows NAME,...] [--pairs N] [--dir DIR] [--list]

A row runs its floor and Sluice alternately, at least five times each (--smoke: once, small), with memory
warmed before each timed run, and prints the ratio as minimum, median and maximum; beside it the goal.
Only ratios taken in one run mean something: absolute figures drift from machine to machine.

Server processes run on processor 1, load on processor 0, floors and Sluice alike (--no-pin: anywhere).
DIR (default build/bench) must be on a real disk. Results also go to build/bench/results.json.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, 'build', 'release', 'tests', 'bench')
BROKER = os.path.join(ROOT, 'build', 'release', 'bin', 'sluice-broker')
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SERVER_CPU, LOAD_CPU = 1, 0

# Shapes of batches: records, bytes each, unanswered requests (so that about 520 KB are under way).
LARGE = dict(records=1000, record_bytes=100, in_flight=5)
LARGE_1K = dict(records=100, record_bytes=1024, in_flight=5)
SMALL = dict(records=150, record_bytes=100, in_flight=32)
SINGLE = dict(records=1, record_bytes=100, in_flight=64)


class Failed(Exception):
    """A program did not do what the row needs."""


class Bench:
    def __init__(self, args):
        self.smoke, self.directory = args.smoke, args.dir
        self.pairs = args.pairs or (1 if args.smoke else 5)
        self.pin = not args.no_pin and (os.cpu_count() or 1) > 1

    def size(self, full, smoke):
        return smoke if self.smoke else full

    def words(self, options):
        return [f'{k}={v}' for k, v in options.items()]

    def run(self, program, command, *rest, timeout=900, **options):
        """One bench program to its end: its JSON."""
        if self.pin and 'cpu' not in options and command not in ('warm', 'start', 'idle'):
            options['cpu'] = LOAD_CPU
        words = [os.path.join(BIN, 'bench_' + program), command, *self.words(options), *rest]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failed(f'{" ".join(words)}\n{done.stderr.strip()}')
        return json.loads(done.stdout)

    def raw(self, command, server, *rest, **options):
        return self.run('raw', command, *rest, to=server.address, pid=server.pid,
                        **(dict(floor=1) if server.is_floor else {}), **options)

    def warm(self):
        if not self.smoke:
            available = int(next(l for l in open('/proc/meminfo') if l.startswith('MemAvailable')).split()[1])
            self.run('floor', 'warm', bytes=min(4 * GIB, available * 1024 // 2))

    def new_dir(self):
        os.makedirs(self.directory, exist_ok=True)
        return tempfile.mkdtemp(prefix='run-', dir=self.directory)


class Server:
    """A process that serves, in a directory of its own, both gone when the block ends."""
    is_floor = False

    def __init__(self, bench, directory=None):
        self.bench = bench
        self.keep = directory is not None
        self.directory = directory or bench.new_dir()

    def spawn(self, words, **kwargs):
        def place():
            if self.bench.pin:
                os.sched_setaffinity(0, {SERVER_CPU})
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, preexec_fn=place, **kwargs)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def end(self, sig):
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def memory(self):
        """(all resident, of which not backed by files) in bytes."""
        fields = dict(line.split(':', 1) for line in open(f'/proc/{self.pid}/status'))
        rss, anon = (int(fields[k].split()[0]) * KIB for k in ('VmRSS', 'RssAnon'))
        return rss, anon


class Floor(Server):
    is_floor = True

    def __init__(self, bench, command, **options):
        super().__init__(bench)
        self.spawn([os.path.join(BIN, 'bench_floor'), command, *bench.words(dict(dir=self.directory, **options))],
                   stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise Failed(f'floor {command} did not start')


def broker_words(directory, **settings):
    settings = {'data.dirs': directory, 'listener': '127.0.0.1:0', 'metad.listener': '127.0.0.1:0', **settings}
    return [BROKER, '--standalone'] + [w for k, v in settings.items() for w in ('--set', f'{k}={v}')]


class Broker(Server):
    def __init__(self, bench, directory=None, **settings):
        super().__init__(bench, directory)
        read_end, write_end = os.pipe()
        start = time.monotonic()
        with open(os.path.join(self.directory, 'diag'), 'a', encoding='utf8') as diag:
            self.spawn(broker_words(os.path.join(self.directory, 'data'), **settings)
                       + ['--ready-fd', str(write_end)], pass_fds=[write_end], stderr=diag)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            addresses = dict(line.split() for line in ready)
        self.ready_s = time.monotonic() - start
        if 'broker' not in addresses or 'metad' not in addresses:
            raise Failed('the broker did not start:\n' + open(os.path.join(self.directory, 'diag')).read()[-2000:])
        self.address, self.metad, self.http = addresses['broker'], addresses['metad'], addresses.get('http')

    def metric(self, name):
        with urllib.request.urlopen(f'http://{self.http}/metrics', timeout=10) as page:
            lines = page.read().decode().split('\n')
        return sum(float(line.rsplit(' ', 1)[1]) for line in lines if line.startswith((name + ' ', name + '{')))

    def topic(self, name='bench', partitions=1, config='durability=page-cache'):
        self.bench.run('raw', 'topic', to=self.metad, broker=self.address, topic=name, partitions=partitions, config=config)
        return self


# --- results ---------------------------------------------------------------------------------


class Table:
    def __init__(self):
        self.rows = []
        print(f'{"":38}{"floor":>12}{"sluice":>12}   {"ratio":^22}  goal')

    def add(self, name, unit, floor, sluice, goal='', better=None, limit=None):
        """floor and sluice: values of the pairs; floor None: no floor, sluice is judged itself."""
        judged = [s / f if f else float('inf') for f, s in zip(floor, sluice)] if floor else list(sluice)
        middle = statistics.median(judged)
        verdict = ''
        if limit is not None:
            reached = middle >= limit if better == 'more' else middle <= limit
            verdict = 'reached' if reached else 'NOT REACHED'
        self.rows.append(dict(name=name, unit=unit, floor=floor, sluice=sluice, judged=judged, goal=goal,
                              verdict=verdict))
        left = f'{statistics.median(floor):12.4g}' if floor else ' ' * 12
        spread = f'{min(judged):6.3g} {middle:7.3g} {max(judged):7.3g}'
        print(f'{name + ", " + unit:38}{left}{statistics.median(sluice):12.4g}   {spread:22}  {goal:28}{verdict}',
              flush=True)

    def at_least(self, name, unit, floor, sluice, limit):
        self.add(name, unit, floor, sluice, f'>= {limit}{" F" if floor else ""}', 'more', limit)

    def at_most(self, name, unit, floor, sluice, limit):
        self.add(name, unit, floor, sluice, f'<= {limit}{" F" if floor else ""}', 'less', limit)

    def note(self, name, unit, sluice):
        self.add(name, unit, None, sluice)


def column(results, key):
    return [r[key] for r in results]


def pairs(b, floor, sluice):
    """Runs both alternately: ([floor results], [sluice results])."""
    a, c = [], []
    for _ in range(b.pairs):
        b.warm()
        a.append(floor())
        b.warm()
        c.append(sluice())
    return a, c


# --- rows --------------------------------------------------------------------------------------


def on_floor(b, command, floor_options, load, **options):
    with Floor(b, command, **floor_options) as f:
        return b.raw(load, f, **options)


def on_broker(b, load, config='durability=page-cache', prepare=None, **options):
    with Broker(b) as s:
        s.topic(config=config)
        if prepare:
            b.raw('produce', s, **prepare)
        return b.raw(load, s, **options)


def produce_row(b, t, name, shape, total, share, cpu_share=1.3):
    f, s = pairs(b, lambda: on_floor(b, 'receive', {}, 'produce', bytes=total, **shape),
                 lambda: on_broker(b, 'produce', bytes=total, **shape))
    t.at_least(name, 'GB/s', column(f, 'gbps'), column(s, 'gbps'), share)
    t.at_most(name, 'broker CPU s/GB', column(f, 'cpu_s_per_gb'), column(s, 'cpu_s_per_gb'), cpu_share)


def row_produce_large(b, t):
    produce_row(b, t, 'produce, 104 KB batches', LARGE, b.size(3 * GIB, 64 * MIB), 0.85)


def row_produce_small(b, t):
    produce_row(b, t, 'produce, 16 KB batches', SMALL, b.size(2 * GIB, 64 * MIB), 0.80)


def row_produce_single(b, t):
    produce_row(b, t, 'produce, one record a request', SINGLE, b.size(200 * MIB, 4 * MIB), 0.6)


def row_record_size(b, t):
    """CPU follows bytes and batches, not records: 100 B against 1 KiB in batches of one size."""
    total = b.size(3 * GIB, 64 * MIB)
    f, s = pairs(b, lambda: on_broker(b, 'produce', bytes=total, **LARGE_1K),
                 lambda: on_broker(b, 'produce', bytes=total, **LARGE))
    t.at_most('100 B (against 1 KiB records)', 'CPU s/GB', column(f, 'cpu_s_per_gb'), column(s, 'cpu_s_per_gb'), 1.1)


def row_fetch(b, t):
    there, total = b.size(GIB, 32 * MIB), b.size(6 * GIB, 128 * MIB)
    f, s = pairs(b, lambda: on_floor(b, 'serve', dict(bytes=there), 'fetch', bytes=total),
                 lambda: on_broker(b, 'fetch', prepare=dict(bytes=there, **LARGE), bytes=total,
                                   end=there // 100000 * 1000))
    t.at_least('fetch, one warm consumer', 'GB/s', column(f, 'gbps'), column(s, 'gbps'), 0.9)
    t.at_most('fetch, one warm consumer', 'CPU s/GB', None, column(s, 'cpu_s_per_gb'), 0.3)


def row_tail(b, t):
    total = b.size(GIB, 16 * MIB)
    f, s = pairs(b, lambda: on_floor(b, 'serve', dict(bytes=GIB // 4), 'fetch', bytes=b.size(4 * GIB, 128 * MIB),
                                     discard=1),
                 lambda: on_broker(b, 'tail', consumers=10, bytes=total, **LARGE))
    t.at_least('one producer, ten tail consumers', 'egress GB/s', column(f, 'gbps'), column(s, 'gbps'), 0.8)
    cost = {}
    for n in (1, 10, 100):
        runs = [on_broker(b, 'tail', consumers=n, bytes=b.size(50 * MIB, 4 * MIB), rate=b.size(100, 1000), **LARGE)
                for _ in range(b.pairs)]
        alone = [on_broker(b, 'tail', consumers=0, bytes=b.size(50 * MIB, 4 * MIB), rate=b.size(100, 1000), **LARGE)
                 for _ in range(b.pairs)] if n == 1 else alone
        cost[n] = [(r['cpu_s'] - a['cpu_s']) / (r['bytes'] / 1e9) for r, a in zip(runs, alone)]
        t.note(f'cost of {n} tail consumers', 'CPU s/GB read', cost[n])
    t.at_most('cost per consumer, 100 against 1', 'CPU s/GB', cost[1], cost[100], 1.2)


def row_latency(b, t):
    count = b.size(10000, 500)
    f, s = pairs(b, lambda: on_floor(b, 'echo', {}, 'latency', count=count),
                 lambda: on_broker(b, 'latency', count=count))
    t.at_most('end to end at 1,000/s', 'p50 us', column(f, 'e2e_p50_us'), column(s, 'e2e_p50_us'), 1.3)
    t.at_most('end to end at 1,000/s', 'p99 us', column(f, 'e2e_p99_us'), column(s, 'e2e_p99_us'), 2)
    t.at_most('end to end at 1,000/s', 'p99.9 us', None, column(s, 'e2e_p999_us'), 1000)


def durable_singles(b, total):
    with Broker(b, **{'http.listener': '127.0.0.1:0'}) as s:
        s.topic(config='durability=fsync')
        before = s.metric('sluice_flushes_total')
        result = b.raw('produce', s, bytes=total, acks=-1, **SINGLE)
        result['flushes_per_s'] = (s.metric('sluice_flushes_total') - before) / result['seconds']
        return result


def row_durable(b, t):
    fsync = dict(config='durability=fsync')
    total = b.size(GIB, 32 * MIB)
    f, s = pairs(b, lambda: on_floor(b, 'receive', dict(fsync=1), 'produce', bytes=total, **LARGE),
                 lambda: on_broker(b, 'produce', bytes=total, acks=-1, **fsync, **LARGE))
    t.at_least('durable, 104 KB batches', 'GB/s', column(f, 'gbps'), column(s, 'gbps'), 0.8)
    singles = b.size(20 * MIB, MIB)
    f, s = pairs(b, lambda: on_floor(b, 'receive', dict(fsync=1), 'produce', bytes=singles, **SINGLE),
                 lambda: durable_singles(b, singles))
    t.at_least('durable, one record a request', 'records/s', None, column(s, 'records_per_s'), 50000)
    t.at_most('durable, one record a request', 'flushes/s', None, column(s, 'flushes_per_s'), 5000)
    t.add('durable, one record a request', 'records/s', column(f, 'records_per_s'), column(s, 'records_per_s'))
    disks = []
    for _ in range(b.pairs):
        directory = b.new_dir()
        disks.append(b.run('floor', 'disk', dir=directory, scale=b.size(8, 1)))
        shutil.rmtree(directory)
    t.at_most('durable acknowledgement (fdatasyncs)', 'p99 us', column(disks, 'append_4k_p99_us'),
              column(s, 'ack_p99_us'), 2.5)
    one = [on_broker(b, 'produce', bytes=b.size(400000, 20000), acks=-1, **fsync, records=1, record_bytes=100,
                     in_flight=1) for _ in range(b.pairs)]
    t.at_most('durable acknowledgement, alone', 'p99 us', column(disks, 'append_4k_p99_us'),
              column(one, 'ack_p99_us'), 2.5)


def row_memory(b, t):
    idle, loaded, per_connection, per_partition = [], [], [], []
    count = b.size(5000, 500)
    for _ in range(b.pairs):
        with Broker(b) as s:
            idle.append(s.memory()[0] / MIB)
            before = s.memory()[1]
            holder = subprocess.Popen([os.path.join(BIN, 'bench_raw'), 'idle', f'to={s.address}', f'count={count}'],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if not holder.stdout.readline():
                raise Failed('idle connections were refused')
            per_connection.append((s.memory()[1] - before) / count)
            holder.communicate('')
        with Broker(b) as s:
            before = s.memory()[1]
            n = b.size(10000, 500)
            s.topic(partitions=n)
            per_partition.append((s.memory()[1] - before) / n)
        with Broker(b) as s:
            s.topic()
            b.raw('produce', s, bytes=b.size(GIB, 64 * MIB), **LARGE)
            b.raw('fetch', s, bytes=b.size(GIB, 64 * MIB), end=b.size(GIB, 64 * MIB) // 100000 * 1000)
            loaded.append(s.memory()[1] / MIB)
    t.at_most('memory, idle', 'MiB resident', None, idle, 10)
    t.at_most('memory, loaded', 'MiB without files', None, loaded, 32)
    t.at_most('memory, per idle connection', 'bytes', None, per_connection, 8 * KIB)
    t.at_most('memory, per idle partition', 'bytes', None, per_partition, 4 * KIB)


def start(b, directory, end, **options):
    return b.run('raw', 'start', '--', *broker_words(os.path.join(directory, 'data')), end=end, **options)


def row_start(b, t):
    fresh, again = [], []
    for _ in range(max(b.pairs, b.size(10, 1))):
        directory = b.new_dir()
        fresh.append(start(b, directory, 'term', create=1))
        again.append(start(b, directory, 'term'))
        shutil.rmtree(directory)
    t.at_most('start to first acknowledgement', 'ms', None, column(again, 'first_ack_ms'), 10)
    t.note('start, empty directory and new topic', 'ms', column(fresh, 'first_ack_ms'))
    t.note('clean stop', 'ms', column(again, 'stop_ms'))


def row_restart(b, t):
    """After kill -9, by size of the log."""
    result = {}
    for size in (100 * MIB, b.size(10 * GIB, 200 * MIB)):
        directory = b.new_dir()
        with Broker(b, directory) as s:
            s.topic(config='durability=fsync')
            b.raw('produce', s, bytes=size, **LARGE)
        os.sync()  # else the first fsync of the restart waits for gigabytes that the kernel still has to write
        result[size] = [start(b, directory, 'kill')['first_ack_ms'] for _ in range(b.pairs)]
        shutil.rmtree(directory)
    small, large = result.values()
    t.at_most('restart after kill -9, large log', 'ms', small, large, 1.2)
    t.at_most('restart after kill -9, large log', 'ms', None, large, 100)


def row_partitions(b, t):
    for count, clean_ms, kill_ms in ((1000, 60, 150), (10000, 400, 1000)):
        count = b.size(count, count // 50)
        directory = b.new_dir()
        with Broker(b, directory) as s:
            s.topic(partitions=count)
            b.raw('spread', s, partitions=count, laps=2, records=1, record_bytes=100)
            s.end(signal.SIGTERM)
        clean = [start(b, directory, 'term')['first_ack_ms'] for _ in range(b.pairs)]
        start(b, directory, 'kill')
        killed = [start(b, directory, 'kill')['first_ack_ms'] for _ in range(b.pairs)]
        shutil.rmtree(directory)
        t.at_most(f'{count} partitions, clean start', 'ms', None, clean, clean_ms)
        t.at_most(f'{count} partitions, after kill -9', 'ms', None, killed, kill_ms)


def row_spread(b, t):
    count = b.size(10000, 200)
    shape = dict(partitions=count, laps=b.size(5, 2), records=150, record_bytes=100, in_flight=32)

    def one(flag):
        with Broker(b) as s:
            s.topic(partitions=count)
            return b.raw('spread', s, one=flag, **shape)
    f, s = pairs(b, lambda: one(1), lambda: one(0))
    t.at_least(f'{count} partitions (against one)', 'GB/s', column(f, 'gbps'), column(s, 'gbps'), 0.9)


def row_seek(b, t):
    def at(size):
        with Broker(b) as s:
            s.topic()
            b.raw('produce', s, bytes=size, **SMALL)
            end = size // 15000 * 150
            b.raw('seek', s, end=end, count=b.size(2000, 50))
            return b.raw('seek', s, end=end, count=b.size(20000, 200))
    f, s = pairs(b, lambda: at(b.size(200 * MIB, 8 * MIB)), lambda: at(b.size(6 * GIB, 32 * MIB)))
    t.at_most('seek, 6 GB (against 0.2 GB)', 'p99 us', column(f, 'seek_p99_us'), column(s, 'seek_p99_us'), 1.2)


def row_polls(b, t):
    runs = [on_broker(b, 'polls', count=b.size(1000, 100), seconds=b.size(5, 1)) for _ in range(b.pairs)]
    t.at_most('1,000 idle long polls', 'cores', None, column(runs, 'cores'), 0.02)


def row_client(b, t):
    sends, polls = [], []
    count = b.size(10000000, 200000)
    for _ in range(b.pairs):
        b.warm()
        with Broker(b) as s:
            s.topic()
            where = dict(to=s.metad, cpu=-1)
            sends.append(b.run('client', 'send', records=count, **where))
            polls.append(b.run('client', 'consume', records=count, **where))
    stride = sends[0]['stride']
    t.at_most('client: send', 'ns a record', None, [r['stride_p50_us'] * 1000 / stride for r in sends], 150)
    t.at_least('client: sent to acknowledged', 'M records/s', None, column(sends, 'acked_mrps'), 3)
    t.at_least('client: consume', 'M records/s', None, column(polls, 'mrps'), 8)


def row_machine(b, t):
    """What the machine does without a broker, for orders of magnitude."""
    b.warm()
    directory = b.new_dir()
    disk = b.run('floor', 'disk', dir=directory, scale=b.size(8, 1))
    shutil.rmtree(directory)
    for key, unit in (('append_4k_p50_us', 'us'), ('overwrite_4k_p50_us', 'us'), ('append_1m_gbps', 'GB/s'),
                      ('overwrite_1m_gbps', 'GB/s'), ('buffered_append_gbps', 'GB/s'),
                      ('buffered_overwrite_gbps', 'GB/s')):
        t.note(f'disk: {key.rsplit("_", 1)[0]}', unit, [disk[key]])
    t.note('CRC-32C', 'GB/s', [b.run('floor', 'crc', bytes=b.size(4 * GIB, GIB // 4))['crc_gbps']])
    walk = b.run('floor', 'walk', rounds=b.size(20000, 1000))
    t.note('walking records', 'M/s', [walk['walk_mrps']])
    t.note('validating records', 'M/s', [walk['check_mrps']])


ROWS = {name[len('row_'):]: f for name, f in list(globals().items()) if name.startswith('row_')}
FIRST = ['machine']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--smoke', action='store_true')
    parser.add_argument('--rows', default='')
    parser.add_argument('--pairs', type=int)
    parser.add_argument('--dir', default=os.path.join(ROOT, 'build', 'bench'))
    parser.add_argument('--no-pin', action='store_true')
    parser.add_argument('--list', action='store_true')
    args = parser.parse_args()
    if args.list:
        print('\n'.join(ROWS))
        return 0
    chosen = args.rows.split(',') if args.rows else FIRST + [r for r in ROWS if r not in FIRST]
    unknown = [r for r in chosen if r not in ROWS]
    if unknown:
        print(f'no such row: {", ".join(unknown)}; there are: {", ".join(ROWS)}', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that blocks end their servers
    b, t, failed = Bench(args), Table(), []
    for row in chosen:
        try:
            ROWS[row](b, t)
        except (Failed, subprocess.TimeoutExpired) as e:
            failed.append(row)
            print(f'{row}: {e}', file=sys.stderr, flush=True)
    os.makedirs(args.dir, exist_ok=True)
    with open(os.path.join(args.dir, 'results.json'), 'w', encoding='utf8') as out:
        json.dump(t.rows, out, indent=1)
    short = [r for r in t.rows if r['verdict'] == 'NOT REACHED']
    print(f'{len(t.rows)} rows, {sum(r["verdict"] == "reached" for r in t.rows)} goals reached, '
          f'{len(short)} not reached, {len(failed)} failed to run'
          + (' (smoke: the figures mean nothing)' if args.smoke else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
