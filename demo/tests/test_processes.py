"""Programs of the demo are started, heard and stopped."""

import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from narration import Failed
from processes import Children, free_ports

# Says that it is ready, with the number of a child that outlives its parent's wish to end.
STUBBORN = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", child.pid, flush=True)
signal.pause()
"""


# Starts a program that holds the other end of a pipe, then waits to be ended itself.
DEMO = """
import asyncio, os, pathlib, sys
from processes import Children
code = "import os, signal, sys; os.open(sys.argv[1], os.O_WRONLY); print('ready', flush=True); signal.pause()"
Children().start("program", [sys.executable, "-c", code, sys.argv[1]], pathlib.Path(sys.argv[2])).wait_for("ready", 10)
print("ready", flush=True)
asyncio.run(asyncio.sleep(600))
"""


class Programs(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.log = pathlib.Path(self.directory.name) / "log"
        self.children = Children()
        self.addCleanup(self.children.stop)

    def start(self, code: str):
        return self.children.start("program", [sys.executable, "-c", code], self.log)

    def test_a_program_is_heard_and_stopped_with_its_own_children(self):
        program = self.start(STUBBORN)
        grandchild = int(program.wait_for("ready", 10).split()[1])
        self.assertEqual(program.stop(), 7)
        self.assertFalse(_runs(grandchild))

    def test_a_program_that_ends_early_is_named_with_its_last_words(self):
        with self.assertRaisesRegex(Failed, "ended before(.|\n)*no such key"):
            self.start("print('no such key')").wait_for("ready", 10)

    def assert_nothing_outlives(self, number: signal.Signals):
        pipe = self.log.with_name("pipe")
        os.mkfifo(pipe)
        end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, end)
        command = [sys.executable, "-c", DEMO, str(pipe), str(self.log)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as demo:
            self.assertEqual(demo.stdout.readline(), b"ready\n")
            demo.send_signal(number)
        # Readable means: no writer is left.
        self.assertEqual(select.select([end], [], [], 10)[0], [end])
        self.assertEqual(os.read(end, 1), b"")

    def test_no_program_outlives_a_demo_that_is_interrupted(self):
        self.assert_nothing_outlives(signal.SIGINT)

    def test_no_program_outlives_a_demo_that_is_ended(self):
        self.assert_nothing_outlives(signal.SIGTERM)

    def test_no_program_outlives_a_demo_that_is_killed(self):
        self.assert_nothing_outlives(signal.SIGKILL)

    def test_a_listener_is_found_without_connecting_to_it(self):
        port = free_ports(1)
        listen = f"import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept(); print('somebody')"
        program = self.start(listen)
        program.wait_listening(port, 10)
        program.stop()
        self.assertEqual(self.log.read_text(encoding="utf-8"), "")

    def test_a_program_that_never_listens_is_named(self):
        with self.assertRaisesRegex(Failed, "does not listen"):
            self.start("pass").wait_listening(free_ports(1), 10)

    def test_free_ports_are_free(self):
        first = free_ports(2)
        for port in (first, first + 1):
            socket.create_server(("127.0.0.1", port)).close()


def _runs(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
