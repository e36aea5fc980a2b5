# SPDX-License-Identifier: Apache-2.0
"""`make quickstart` does what its page promises, with a file of our choice."""

import os
import re
import subprocess

import pytest

from support import ROOT, rng


@pytest.fixture
def quickstart():
    if not re.search(r"^quickstart:", (ROOT / "Makefile").read_text(), re.M):
        pytest.skip("the Makefile has no target quickstart")
    # As typed into a shell, also when these tests themselves were started by make.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return lambda *words: subprocess.run(["make", "-s", "quickstart", *words], cwd=ROOT, env=environment,
                                         capture_output=True, text=True, errors="replace", timeout=300,
                                         stdin=subprocess.DEVNULL)


def test_quickstart_with_a_file(quickstart, directory):
    """Lines of every kind: empty, long, with blanks at their ends, without a newline at the last."""
    random = rng("quickstart")
    lines = [bytes(random.choice(b"abcdefghijklmnopqrstuvwxyz \t") for _ in range(random.randrange(120)))
             for _ in range(5000)] + [b"", b" ", b"x" * 50_000, "größer".encode()]
    path = directory / "lines.txt"
    path.write_bytes(b"\n".join(lines) + b"\n")
    done = quickstart(f"FILE={path}")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "5004" in said.replace(",", "").replace(" ", ""), said
    assert "sluice" in said


def test_quickstart_with_a_missing_file(quickstart, directory):
    done = quickstart(f"FILE={directory}/missing")
    assert done.returncode != 0
    assert "missing" in done.stdout + done.stderr
