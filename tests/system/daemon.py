# SPDX-License-Identifier: Apache-2.0
"""A real sluice-broker process with a directory of its own, handled by its pid."""

import os
import pathlib
import re
import select
import signal
import subprocess
import urllib.error
import urllib.request

from support import BUILD, Deadline, eventually
from sluice_client import Client, Connection

# What no test may leave in a daemon's stderr: our own failed assertions and the sanitizers' reports.
_REPORT = re.compile(r"CHECK failed|ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|SUMMARY: \w+Sanitizer")


class Broker:
    """`sluice-broker --standalone`. settings are --set keys and win over these defaults: one data
    directory in `directory`, and every listener on a port of the kernel's choice."""

    def __init__(self, directory, settings=None, env=None, args=(), preexec=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.settings = {
            "data.dirs": str(self.data),
            "listener": "127.0.0.1:0",
            "metad.listener": "127.0.0.1:0",
            "http.listener": "127.0.0.1:0",
            **(settings or {}),
        }
        self.env, self.args, self.preexec = env or {}, args, preexec
        self.stderr_path = self.directory / "stderr.log"
        self.process = None
        self.addresses = {}
        self.expect_report = False  # a test that aborts the daemon on purpose says so
        self._clients = []

    # --- life -------------------------------------------------------------------------------

    def command(self):
        sets = [word for key, value in self.settings.items() for word in ("--set", f"{key}={value}")]
        return [str(BUILD / "bin/sluice-broker"), "--standalone", *sets, *self.args]

    def launch(self):
        """Starts the process and returns; ready() waits."""
        assert (BUILD / "bin/sluice-broker").exists(), f"no sluice-broker in {BUILD}/bin: run make first"
        read_end, write_end = os.pipe()
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                [*self.command(), "--ready-fd", str(write_end)], stdin=subprocess.DEVNULL,
                stdout=stderr, stderr=stderr, pass_fds=[write_end], cwd=self.directory,
                env={**os.environ, **self.env}, preexec_fn=self.preexec)
        os.close(write_end)
        self._ready_fd = read_end
        return self

    def ready(self, seconds=20):
        """Waits until the daemon has told its addresses and closed the descriptor."""
        deadline, told = Deadline(seconds), b""
        try:
            while True:
                readable, _, _ = select.select([self._ready_fd], [], [], deadline.left())
                assert readable, f"not ready within {deadline.seconds:g} s\n{self.stderr()}"
                data = os.read(self._ready_fd, 4096)
                if not data:
                    break
                told += data
        finally:
            os.close(self._ready_fd)
        assert told, f"gone before it was ready, exit status {self.wait()}\n{self.stderr()}"
        self.addresses = dict(line.split() for line in told.decode().splitlines())
        return self

    def start(self):
        return self.launch().ready()

    def restart(self):
        """After an exit, however it came."""
        assert self.process.poll() is not None, "still running"
        self.disconnect()
        return self.start()

    def wait(self, seconds=20):
        """The exit status; negative is the signal."""
        return self.process.wait(seconds * float(Deadline(1).seconds))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and waits for the corpse."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self):
        """SIGTERM, when our own clients have left; gives the exit status."""
        self.disconnect()
        return self.stop()

    def stop(self):
        """SIGTERM under the clients' eyes; gives the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def is_running(self):
        return self.process.poll() is None

    def finish(self):
        """At a test's end: nothing left running, nothing alarming said."""
        self.disconnect()
        status = None
        if self.process and self.is_running():
            self.resume()
            status = self.terminate()
        said = self.stderr()
        if not self.expect_report:
            report = _REPORT.search(said)
            assert not report, f"the daemon reported a defect:\n{said[max(0, report.start() - 500):][:5000]}"
            assert status in (None, 0), f"exit status {status} after SIGTERM\n{said[-3000:]}"

    # --- talking to it ----------------------------------------------------------------------

    def client(self, **options):
        client = Client(self.addresses["metad"], **options)
        self._clients.append(client)
        return client

    def connect(self, name="broker", **options):
        """One connection; name as in the ready lines."""
        connection = Connection(self.addresses[name], **options)
        self._clients.append(connection)
        return connection

    def disconnect(self):
        for client in self._clients:
            client.close()
        self._clients = []

    def http(self, path):
        """(status, text)."""
        try:
            with urllib.request.urlopen(f"http://{self.addresses['http']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metrics(self):
        """Series (with its labels, as written) -> value."""
        status, text = self.http("/metrics")
        assert status == 200, text
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}

    # --- looking at it ----------------------------------------------------------------------

    def stderr(self):
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def says(self, pattern, seconds=4):
        """Waits until stderr matches; gives the match."""
        return eventually(lambda: re.search(pattern, self.stderr()), seconds, f"stderr says {pattern!r}")

    def status(self, key):
        """A line of /proc/PID/status, in bytes where it says kB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                words = line.split()[1:]
                return int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
        raise KeyError(key)

    def memory(self):
        return self.status("VmRSS")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def partition(self, topic, number=0):
        """The directory of a partition; there must be exactly one."""
        found = self.partitions(topic, number)
        assert len(found) == 1, f"{topic}-{number}: {found}"
        return found[0]

    def partitions(self, topic, number=0):
        directories = self.settings["data.dirs"].split(",")
        return [path for directory in directories
                for path in sorted(pathlib.Path(directory).glob(f"{topic}-{number}.*"))
                if re.fullmatch(rf"{re.escape(topic)}-{number}\.[0-9a-f]{{8}}", path.name)]

    def segments(self, topic, number=0):
        return sorted(self.partition(topic, number).glob("*.log"))
