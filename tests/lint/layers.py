# SPDX-License-Identifier: Apache-2.0
"""Layers only look down, each third-party header has one folder, and the five doors are the only ways out.

A folder includes itself and folders with a lower number; folders of the same number are strangers.
"""
import re

# Folder -> layer. tests/, clients/examples and the generated schema stand outside.
LAYERS = {
    'proto/base': 0,
    'proto/wire': 1,
    'proto/net': 2,
    'metad/model': 3, 'metad/coord': 4, 'broker/log': 3, 'clients/lib': 3,
    'metad/follow': 5, 'broker/replica': 6, 'broker/group': 7, 'broker/controller': 7, 'clients/tools': 4,
    'metad/server': 8,
    'broker/server': 9,
}
# Layers that are numbered apart only because one stands on the other; what else a folder may not see,
# although its number is lower.
BLIND = {
    'clients/lib': ('metad/', 'broker/'),
    'clients/tools': ('metad/', 'broker/replica', 'broker/server', 'broker/group', 'broker/controller'),
    'broker/log': ('metad/',),
    'metad/coord': ('broker/', 'clients/'),
    'metad/follow': ('broker/', 'clients/'),
    'metad/server': ('broker/', 'clients/'),
    'broker/replica': ('clients/',),
    'broker/group': ('clients/',),
    'broker/controller': ('clients/',),
    'broker/server': ('clients/',),
}
# The public header is the client library's own; tools use it, too.
PUBLIC = {'sluice/sluice.h': ('clients/lib', 'clients/tools')}
# Generated messages: who may see protobuf-c's types.
SCHEMA_FROM = 1

# Third-party header -> the folders that may include it.
THIRD_PARTY = {
    'isa-l': ('proto/base',), 'isa-l.h': ('proto/base',), 'isa-l/crc.h': ('proto/base',),
    'protobuf-c/protobuf-c.h': ('proto/wire',),
    'snappy-c.h': ('proto/wire',), 'lz4.h': ('proto/wire',), 'lz4frame.h': ('proto/wire',),
    'zstd.h': ('proto/wire',), 'zlib.h': ('proto/wire',),
    'sqlite3.h': ('metad/coord',), 'zookeeper/zookeeper.h': ('metad/coord',),
    'microhttpd.h': ('proto/net',),
    'uthash.h': None, 'utlist.h': None, 'utarray.h': None,  # data structures: anywhere
    'cmocka.h': (),
}

# Calls that only the doors make: name -> files (prefixes) that may.
LOOP = ('proto/net/loop', 'proto/net/address.c')
EXEC = ('proto/net/exec',)
FSIO = ('broker/log/fsio',)
COORD = ('metad/coord/',)
RNG = ('proto/base/rng.c',)
DIAG = ('proto/base/diag.c',)
CONF = ('proto/base/conf.c', 'proto/base/daemon_args.c')
MAIN = ('broker/server/main.c', 'metad/server/main.c', 'clients/tools/')
DOORS = {
    'time and sockets: proto/net/loop': (LOOP + MAIN, '''time clock gettimeofday nanosleep usleep sleep
        timerfd_create alarm setitimer socket socketpair bind listen accept accept4 connect send recv sendto recvfrom
        sendmsg recvmsg setsockopt getsockopt epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait poll ppoll
        select pselect eventfd pipe pipe2 getaddrinfo sendfile splice shutdown'''),
    'the clock: proto/net/loop': (LOOP + DIAG + MAIN, 'clock_gettime'),
    'files: broker/log/fsio': (FSIO + CONF + MAIN, '''open openat creat fopen freopen mmap munmap msync pread pwrite preadv
        pwritev preadv2 fsync fdatasync syncfs sync_file_range ftruncate truncate fallocate posix_fallocate rename renameat
        unlink unlinkat mkdir mkdirat rmdir opendir readdir closedir stat fstat lstat fstatat statvfs fstatvfs flock
        posix_fadvise madvise mincore fread fwrite'''),
    'threads: proto/net/exec': (EXEC + LOOP, '''pthread_create pthread_join pthread_detach thrd_create pthread_cond_wait
        pthread_cond_timedwait sem_wait fork vfork posix_spawn system popen'''),
    'randomness: proto/base/rng': (RNG, 'rand srand random srandom drand48 rand_r getrandom arc4random'),
}

# Exceptions of single files, each with its reason.
PROCESS = ('fopen', 'opendir', 'readdir', 'closedir')
ALLOWED = {
    **{('proto/net/process.c', name): "the process's own figures, from /proc" for name in PROCESS},
    ('proto/base/daemon_args.c', 'fwrite'): 'prints the manual on stdout',
    ('broker/log/fsio_posix.c', 'clock_gettime'): "how long the files' door was held; a simulator gives its own",
    ('clients/lib/shell.c', 'pthread_create'): "a client's one background thread, which runs its loop",
    ('clients/lib/shell.c', 'pthread_join'): 'the same',
    ('clients/lib/shell.c', 'pthread_cond_wait'): 'blocking calls wait for the loop',
    ('clients/lib/shell.c', 'pthread_cond_timedwait'): 'the same',
    ('clients/tools/perf.c', 'fork'): 'perf --producers, --consumers: a process each',
}


def folder_of(path):
    return path.rsplit('/', 1)[0]


def include_problem(path, folder, target, is_system):
    layer = LAYERS[folder]
    if is_system or target in THIRD_PARTY:
        if target in THIRD_PARTY and THIRD_PARTY[target] is not None and folder not in THIRD_PARTY[target]:
            return f'<{target}> belongs to {", ".join(THIRD_PARTY[target]) or "tests/support"} alone'
        return None
    if target in PUBLIC:
        return None if folder in PUBLIC[target] else f'"{target}" is for {", ".join(PUBLIC[target])}'
    if target.startswith('proto/schema/'):
        return None if layer >= SCHEMA_FROM else f'"{target}": the base knows no schema'
    if '/' not in target:
        return f'"{target}": includes are written from the repository root'
    other = folder_of(target)
    if other == folder:
        return None
    if other not in LAYERS:
        return f'"{target}" is in no layer'
    if any(other.startswith(b.rstrip('/')) for b in BLIND.get(folder, ())):
        return f'"{target}": {folder} does not know {other}'
    if LAYERS[other] >= layer:
        return f'"{target}" looks up or sideways: {folder} is layer {layer}, {other} is {LAYERS[other]}'
    if target.endswith('_priv.h'):
        return f'"{target}" is private to {other}'
    return None


def strip(text):
    """Comments and strings away, lines kept."""
    def blank(match):
        return re.sub(r'[^\n]', ' ', match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


CALL = re.compile(r'(?<![\w.>])([a-z_][a-z0-9_]*)\s*\(')
BANNED = {name: (door, files) for door, (files, names) in DOORS.items() for name in names.split()}
DECLARATION = re.compile(r'^\s*(?:static\s+|extern\s+)?[a-z_]\w*[\s*]+$')


def check(path, text):
    """Problems of one source file."""
    folder = folder_of(path)
    if folder not in LAYERS:
        return
    for number, line in enumerate(text.split('\n'), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            problem = include_problem(path, folder, match.group(2), match.group(1) == '<')
            if problem:
                yield f'{path}:{number}: {problem}'
    for number, line in enumerate(strip(text).split('\n'), 1):
        for match in CALL.finditer(line):
            name = match.group(1)
            if name not in BANNED or (path, name) in ALLOWED:
                continue
            door, files = BANNED[name]
            if not any(path.startswith(f) for f in files):
                yield f'{path}:{number}: {name}() is behind a door: {door}'
