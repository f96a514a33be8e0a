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

from __future__ import annotations

from collections.abc import Callable, Iterator
import subprocess
import sys
import time

import pytest
from svlm_core.offload import backend
from svlm_core.offload.launcher import EXIT_DEVICE, WorkerConfig
from svlm_core.offload.local_workers import LocalProcess
from svlm_core.offload.workers import (
    DIE_S,
    LOAD_S,
    MUTE_S,
    MUTE_STEP_S,
    RESTARTS,
    SILENT_S,
    STUCK_S,
    Workers,
    WorkersLostError,
)

CONFIG = WorkerConfig("0", "tiny", "cpu", "float32", "", 0, (), 8)
READY = backend.Ready("tiny", "cpu")


def health(running: int = 0, since_step_s: float = 0.0) -> backend.Health:
    return backend.Health(1, running, 0, 0, 0, since_step_s, 0, 0)


class ObedientLauncher:
    """Starts real processes that do nothing but end with the code that they are told to."""

    kind: type[LocalProcess] = LocalProcess

    def __init__(self) -> None:
        self.started: list[WorkerConfig] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, config: WorkerConfig) -> LocalProcess:
        self.started.append(config)
        script = "import sys; sys.exit(int(sys.stdin.readline() or 0))"
        process = subprocess.Popen([sys.executable, "-S", "-c", script], stdin=subprocess.PIPE)
        self.processes.append(process)
        return self.kind(process)

    def end(self, number: int, code: int) -> None:
        """Let process `number` end."""
        process = self.processes[number]
        assert process.stdin is not None
        process.stdin.write(f"{code}\n".encode())
        process.stdin.flush()
        process.wait()


@pytest.fixture
def launcher() -> Iterator[ObedientLauncher]:
    launcher = ObedientLauncher()
    yield launcher
    for process in launcher.processes:
        process.kill()
        process.wait()


def started(launcher: ObedientLauncher) -> Workers:
    workers = Workers(launcher, [CONFIG], 0.0)
    assert workers.hear(b"0/0", READY, 0.0) == "0"
    return workers


def watch(workers: Workers, begin_s: float, end_s: float) -> list[str]:
    """Check every second, as the front does more often; the workers that were lost."""
    return [name for second in range(round(begin_s), round(end_s) + 1) for name in workers.check(second)]


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)  # a killed process is reaped soon, but nobody says when


def test_each_process_has_a_name_of_its_own(launcher: ObedientLauncher) -> None:
    workers = Workers(launcher, [CONFIG], 0.0)
    assert not workers.all_served
    assert workers.hear(b"0/0", READY, 0.0) == "0"
    assert workers.all_served and workers.check(1.0) == []
    launcher.end(0, 1)
    assert workers.check(2.0) == ["0"]
    assert [config.name for config in launcher.started] == ["0/0", "0/1"]
    assert workers.hear(b"0/0", health(), 2.0) is None  # a late message of the dead
    assert workers.hear(b"0/1", READY, 2.0) == "0"
    assert workers.identity("0") == b"0/1"


def test_a_worker_that_cannot_start_ends_the_server(launcher: ObedientLauncher) -> None:
    workers = Workers(launcher, [CONFIG], 0.0)
    workers.hear(b"0/0", backend.Failed("tiny: is damaged"), 0.0)
    launcher.end(0, 1)
    with pytest.raises(WorkersLostError, match="on cpu could not start: tiny: is damaged"):
        workers.check(1.0)


def test_a_worker_that_ends_again_and_again_ends_the_server(launcher: ObedientLauncher) -> None:
    workers = started(launcher)
    for number in range(RESTARTS):
        launcher.end(number, 1)
        assert workers.check(float(number)) == ["0"]
    launcher.end(RESTARTS, 1)
    with pytest.raises(WorkersLostError, match="ends again and again: exit code 1"):
        workers.check(float(RESTARTS))


def test_a_worker_may_end_now_and_then(launcher: ObedientLauncher) -> None:
    workers = started(launcher)
    for number in range(2 * RESTARTS):
        launcher.end(number, 1)
        assert workers.check(number * 60.0) == ["0"]


def test_a_broken_device_is_tried_once_more(launcher: ObedientLauncher) -> None:
    workers = started(launcher)
    launcher.end(0, EXIT_DEVICE)
    assert workers.check(1.0) == ["0"]
    launcher.end(1, EXIT_DEVICE)
    with pytest.raises(WorkersLostError, match="the device cpu is broken"):
        workers.check(300.0)


@pytest.mark.parametrize("sign", [None, health(running=1, since_step_s=STUCK_S + 1)])
def test_a_worker_that_hangs_is_killed(launcher: ObedientLauncher, sign: backend.Health | None) -> None:
    workers = started(launcher)
    now_s = SILENT_S + 1
    assert watch(workers, 0, SILENT_S) == [] and launcher.processes[0].poll() is None
    if sign is not None:
        workers.hear(b"0/0", sign, now_s)
    assert workers.check(now_s) == []  # killed now, found dead later
    until(lambda: launcher.processes[0].poll() is not None)
    assert workers.check(now_s) == ["0"]
    assert workers.check(now_s) == []  # the new one has its time


@pytest.mark.parametrize(
    ("sign", "at_s"),
    [(None, MUTE_S + 1), (health(running=1, since_step_s=MUTE_STEP_S + 1), 100.0)],
    ids=["silent", "in one step"],
)
def test_a_worker_that_may_hang_is_told_of_and_may_go_on(
    launcher: ObedientLauncher, sign: backend.Health | None, at_s: float
) -> None:
    workers = started(launcher)
    for second in range(round(at_s)):
        workers.hear(b"0/0", health(running=1), 0.0 if sign is None else second)
        assert workers.check(second) == []
        assert workers.mute == [] or sign is None
    if sign is not None:
        workers.hear(b"0/0", sign, at_s)
    assert workers.check(at_s) == []
    assert workers.mute == ["0"]
    workers.hear(b"0/0", health(running=1), at_s + 1)
    assert workers.check(at_s + 1) == workers.mute == []
    assert launcher.processes[0].poll() is None


def test_a_front_that_was_held_itself_blames_nobody(launcher: ObedientLauncher) -> None:
    workers = started(launcher)
    assert workers.check(1.0) == workers.check(1000.0) == workers.mute == []
    assert launcher.processes[0].poll() is None
    for second in range(round(MUTE_S) + 2):
        workers.check(1000.0 + second)
    assert workers.mute == ["0"]


def test_a_worker_that_does_not_get_ready_again_is_killed(launcher: ObedientLauncher) -> None:
    workers = Workers(launcher, [CONFIG], 0.0)
    assert watch(workers, 0, 2 * LOAD_S) == [] and launcher.processes[0].poll() is None, "it may download"
    ready_s = 2 * LOAD_S + 1
    workers.hear(b"0/0", READY, ready_s)
    launcher.end(0, 1)
    assert workers.check(ready_s) == ["0"]
    assert watch(workers, ready_s, ready_s + LOAD_S) == [] and launcher.processes[1].poll() is None
    workers.check(ready_s + LOAD_S + 1)
    until(lambda: launcher.processes[1].poll() is not None)


class Immortal(LocalProcess):
    """Sits in the kernel, where no signal reaches it."""

    def kill(self) -> None:
        pass


def test_a_worker_that_cannot_be_ended_ends_the_server(launcher: ObedientLauncher) -> None:
    launcher.kind = Immortal
    workers = started(launcher)
    at_s = SILENT_S + 1
    assert watch(workers, 0, at_s + DIE_S) == []
    with pytest.raises(WorkersLostError, match="on cpu hangs, and cannot be ended"):
        workers.check(at_s + DIE_S + 1.0)


def test_a_worker_that_rests_is_left_alone(launcher: ObedientLauncher) -> None:
    workers = started(launcher)
    for second in range(round(SILENT_S) + 2):
        workers.hear(b"0/0", health(running=0, since_step_s=1e6), second)
        assert workers.check(second) == workers.mute == []
    assert launcher.processes[0].poll() is None
