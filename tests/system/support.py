# SPDX-License-Identifier: Apache-2.0
"""What every system test stands on: where things are, deadlines, waiting for a condition.

Import it first: it makes protoc's output and puts it and the Python client on the path.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SLUICE_BUILD", "build/release")
SCHEMA = ROOT / "proto/schema"
GENERATED = ROOT / "build/gen/python"
SANITIZED = any(name in BUILD.name for name in ("asan", "tsan"))

# Deadlines are for a machine that is doing well; a slow one multiplies them.
SLOW = float(os.environ.get("TEST_SLOW", "4" if SANITIZED else "1"))

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))


def generate():
    """protoc's output, put in place file by file so that two runs at once do not see half of it."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=GENERATED.parent) as fresh:
        subprocess.run(["protoc", f"-I{SCHEMA}", f"--python_out={fresh}", *sorted(SCHEMA.glob("*.proto"))],
                       check=True)
        for made in pathlib.Path(fresh).iterdir():
            shutil.move(made, GENERATED / made.name)


generate()
sys.path[:0] = [str(GENERATED), str(ROOT / "clients/python")]


def rng(name):
    """A source of randomness of this run's SEED, one per name."""
    return random.Random(f"{SEED}/{name}")


class Deadline:
    def __init__(self, seconds):
        self.seconds = seconds * SLOW
        self.at = time.monotonic() + self.seconds

    def left(self):
        return max(0.0, self.at - time.monotonic())

    def is_over(self):
        return self.left() == 0


def eventually(condition, seconds=10, what=None):
    """The first true result of condition(), tried again and again until the deadline."""
    deadline = Deadline(seconds)
    pause = 0.001
    while True:
        result = condition()
        if result:
            return result
        if deadline.is_over():
            raise AssertionError(f"not within {deadline.seconds:g} s: {what or condition.__name__}, last {result!r}")
        time.sleep(pause)  # between two looks at the condition, not instead of them
        pause = min(pause * 2, 0.05)
