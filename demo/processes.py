"""Programs of the demo: started in the background, stopped whatever happens.

In: commands. Out: their first line, their logs. Each is a process group of its own, is stopped
on every way out (also on Ctrl-C and SIGTERM), and is told by the kernel if this process is killed.
"""

import atexit
import contextlib
import ctypes
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

from narration import Failed

STOP_SECONDS = 5
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _follow_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A running program; its output goes to a log, and line by line to whoever waits."""

    def __init__(self, name: str, command: list, log: pathlib.Path):
        self.name = name
        self.log = log
        self._lines: queue.Queue = queue.Queue()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_follow_parent,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stdout as lines, self.log.open("a", encoding="utf-8") as log:
            for line in lines:
                log.write(line)
                log.flush()
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, start: str, seconds: float) -> str:
        """The first line that starts so."""
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except queue.Empty:
                raise Failed(f"{self.name} did not say {start!r} within {seconds} s; see {self.log}") from None
            if line is None:
                raise Failed(f"{self.name} ended before it said {start!r}\n{self.tail()}")
            if line.startswith(start):
                return line

    def wait_listening(self, port: int, seconds: float) -> None:
        """Until somebody listens on the port. Nobody connects: a TPM serves one client at a time."""
        wanted, end = f":{port:04X} 00000000:0000 0A", time.monotonic() + seconds
        while wanted not in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{self.name} does not listen on port {port}\n{self.tail()}")
            time.sleep(0.02)

    def tail(self) -> str:
        """The end of its log, for a person."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-20:])
        return "(no log)"

    def stop(self) -> int:
        """Asks it to end, then makes it; its exit code."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=STOP_SECONDS)
        # What the program itself left behind in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join(timeout=STOP_SECONDS)
        return self.process.wait()


class Children:
    """All programs of the demo; stops them in reverse order."""

    def __init__(self):
        self._running: list[Child] = []
        atexit.register(self.stop)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)

    def start(self, name: str, command: list, log: pathlib.Path) -> Child:
        child = Child(name, command, log)
        self._running.append(child)
        return child

    def stop(self) -> None:
        while self._running:
            self._running.pop().stop()


def _end(number: int, _frame) -> None:
    # Not KeyboardInterrupt: the event loop would turn that into a cancellation, and the client library that into errors.
    print("\nstopped", file=sys.stderr)
    raise SystemExit(128 + number)


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on at this moment."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(_bound(0)).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    stack.enter_context(_bound(port))
            except (OSError, OverflowError):
                continue
            return first


def _bound(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        found.close()
        raise
    return found
