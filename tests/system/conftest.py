# SPDX-License-Identifier: Apache-2.0
"""Fixtures. Each test has a directory of its own, removed when it passes and kept, with the
daemons' stderr in it, when it fails."""

import pathlib
import shutil
import tempfile

import pytest

import support
from daemon import Broker
from sluice_client import EARLIEST


def pytest_report_header():
    return f"sluice: {support.BUILD}, SEED={support.SEED}, TEST_SLOW={support.SLOW:g}"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, f"report_{report.when}", report)


@pytest.fixture
def directory(request):
    path = pathlib.Path(tempfile.mkdtemp(prefix="sluice-test-"))
    yield path
    call = getattr(request.node, "report_call", None)
    if call is None or call.failed:
        print(f"kept: {path} (SEED={support.SEED})")
    else:
        shutil.rmtree(path)


@pytest.fixture
def new_broker(directory):
    """Makes brokers that are not started yet: new_broker({"key": "value"})."""
    made = []

    def make(settings=None, **options):
        made.append(Broker(directory / f"broker{len(made)}", settings, **options))
        return made[-1]

    yield make
    problems = []
    for b in made:
        try:
            b.finish()
        except BaseException as e:  # the others must still be ended
            b.process.kill()
            problems.append(e)
    if problems:
        raise problems[0]


@pytest.fixture
def start_broker(new_broker):
    """Makes and starts brokers."""
    return lambda settings=None, **options: new_broker(settings, **options).start()


@pytest.fixture
def broker(start_broker):
    return start_broker()


@pytest.fixture
def client(broker):
    return broker.client()


@pytest.fixture
def topic(client):
    """A topic with one partition and default configs, which the broker already leads."""
    client.create_topic("topic", 1)
    client.list_offset("topic", 0, EARLIEST)
    return "topic"
