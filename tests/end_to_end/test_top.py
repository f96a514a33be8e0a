# Copyright 2026 svlm maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""`svlm top` in a real terminal, while servers come and go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from svlm_core.cli.main import main
from svlm_core.offload.observer import Observer

ROWS, COLUMNS = 30, 70
LIMIT_S = 60.0


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Terminal:
    """A terminal in which `svlm top` runs.

    Attributes:
        written: all that it wrote so far.
    """

    def __init__(self, *options: str) -> None:
        self.written = ""
        self._changed = threading.Condition()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "svlm_core.cli", "top", "--interval-s=0.1", *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
        )
        os.close(theirs)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            with self._changed:
                self.written += data.decode()
                self._changed.notify_all()

    def screen(self) -> list[str]:
        """The lines of the last whole picture."""
        pictures = re.findall(r"\x1b\[H(.*?)\x1b\[J", self.written, re.DOTALL)
        return pictures[-1].replace("\x1b[K", "").split("\r\n") if pictures else []

    def until(self, text: str) -> list[str]:
        """The picture that shows a text."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(text in line for line in self.screen()), LIMIT_S), (
                self.written
            )
            return self.screen()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        os.close(self._ours)


@pytest.fixture
def address() -> str:
    return free_address()


@pytest.fixture
def terminal(address: str) -> Iterator[Terminal]:
    terminal = Terminal("--metrics", address)
    yield terminal
    terminal.close()


def server(address: str, model: str, robots: int) -> AbstractContextManager[object]:
    """The pages of a server with that many robots connected."""
    observer = Observer(model, ["cpu"], room=8)
    observer.beat(robots, robots, {}, False, time.monotonic())
    return observer.show(address)


def test_it_waits_for_servers_and_ends_cleanly(terminal: Terminal, address: str) -> None:
    assert "waiting for it" in terminal.until("does not answer")[1]
    with server(address, "first", 3):
        terminal.until("3 live")
    terminal.until("does not answer")
    with server(address, "second", 5):
        lines = terminal.until("5 live")
        assert len(lines) <= ROWS
        assert max(map(len, lines)) <= COLUMNS
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(LIMIT_S) == 0
    assert "Traceback" not in terminal.written
    assert terminal.written.startswith("\x1b[?1049h\x1b[?25l")
    assert terminal.written.endswith("\x1b[?25h\x1b[?1049l")  # the terminal is as it was


def test_without_a_terminal_there_are_no_escape_codes(address: str) -> None:
    with server(address, "tiny", 2):
        command = [sys.executable, "-m", "svlm_core.cli", "top", "--metrics", address, "--interval-s=0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                assert "\x1b" not in line
                if "2 live" in line:
                    break
            process.send_signal(signal.SIGINT)


def test_once_says_in_one_line_that_nobody_is_there(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--metrics", address]) == 1
    assert capsys.readouterr().err == f"svlm: http://{address} does not answer: Connection refused\n"


def test_a_server_cannot_steer_the_terminal(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with server(address, "tiny\x1b[2J", 2):
        assert main(["top", "--once", "--metrics", address]) == 0
    out = capsys.readouterr().out
    assert "tiny?[2J" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("interval", ["0", "-1", "nan"])
def test_an_interval_that_is_none_is_refused(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--interval-s", interval]) == 1
    assert "--interval-s must be at least 0.1" in capsys.readouterr().err
