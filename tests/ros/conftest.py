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

"""Real processes on a DDS domain of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import importlib.util
import itertools
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import pytest

if importlib.util.find_spec("rclpy"):
    from stream_rig import StreamRig, write_talkative_model
    from workstation import Workstation

# There are no rclpy wheels for every platform; where ROS is missing the core's tests still run.
collect_ignore_glob = [] if importlib.util.find_spec("rclpy") else ["test_*.py"]

REPOSITORY = Path(__file__).parents[2]
_domains = itertools.count(os.getpid())

Start = Callable[..., "subprocess.Popen[str]"]


def isolate(monkeypatch: pytest.MonkeyPatch) -> int:
    """Choose a domain id that neither the next test nor a neighbour's test run uses."""
    number = 1 + next(_domains) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return number


@contextmanager
def starting(log_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts `python -m MODULE --ros-args -p NAME:=VALUE ...`; stderr and stdout go to one pipe."""
    monkeypatch.setenv("ROS_LOG_DIR", str(log_folder))
    children: list[subprocess.Popen[str]] = []

    def _start(module: str, *arguments: str, **parameters: Any) -> subprocess.Popen[str]:
        settings = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        command = [sys.executable, "-m", module, "--ros-args", *settings, *arguments]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY
        )
        children.append(child)
        return child

    try:
        yield _start
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.communicate()


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """The domain id of one test."""
    return isolate(monkeypatch)


@pytest.fixture
def start(domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts nodes for one test, see `starting`."""
    with starting(tmp_path / "log", monkeypatch) as start:
        yield start


class Ear:
    """A node of the test process that collects what it hears."""

    def __init__(self, domain: int) -> None:
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        self.context = Context()
        self.context.init(domain_id=domain)
        self.node = Node("ear", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Any] = []
        self.add(self.node)

    def add(self, node: Any) -> Any:
        """Spin another node of this context as well; returns it."""
        self._executor.add_node(node)
        self._nodes.append(node)
        return node

    def subscribe(self, kind: type, topic: str, qos: Any = 10) -> list[Any]:
        """The list that messages will be appended to."""
        heard: list[Any] = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Handle messages until the condition holds; False when it did not within the time."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def close(self) -> None:
        """Take the node and its context down."""
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        self.context.shutdown()


@pytest.fixture
def ear(domain: int) -> Iterator[Ear]:
    """Listens on the test's domain."""
    ear = Ear(domain)
    yield ear
    ear.close()


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamRig]:
    """A stream node for all tests of a module, which `renew` it: importing torch takes seconds."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as monkeypatch, starting(folder / "log", monkeypatch) as start:
        ear = Ear(isolate(monkeypatch))
        try:
            rig = StreamRig(ear, start, autostart=False, model=write_talkative_model(folder / "qwen"))
            yield rig
            output = rig.end()
            assert rig.process.returncode == 0 and "Traceback" not in output, output
        finally:
            ear.close()


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workstation]:
    """A server of a model that always has something to say; tests may kill it."""
    folder = tmp_path_factory.mktemp("workstation")
    machine = Workstation.prepare(folder, write_talkative_model(folder / "qwen"))
    with machine.server:
        yield machine


@pytest.fixture
def workstation(machine: Workstation) -> Workstation:
    """The same, its server running."""
    if not machine.server.running:
        machine.server.start()
    return machine
