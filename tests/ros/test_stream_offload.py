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

"""Stream nodes whose model is behind a link: a real `svlm serve`, real keys, and what happens to both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
import os
from pathlib import Path
import signal
import time
from typing import Any

from network import free_port
import pytest
from serve_rig import make_keys, ServeRig
from std_msgs.msg import String
from std_srvs.srv import SetBool
from stream_rig import StreamRig, write_talkative_model
from svlm_core.offload.keys import KeyStore, SERVER

OK, WARN, ERROR, STALE = b"\x00", b"\x01", b"\x02", b"\x03"
END_S = 3.0  # a node that waits for a server ends within


@dataclass
class Workstation:
    """A server, where it is, and the keys of who may connect.

    Attributes:
        keys: folder of the server's keys; for shortness the robots' own lie there, too.
    """

    server: ServeRig
    endpoint: str
    keys: Path

    def link(self, robot: str = "robot") -> dict[str, str]:
        """Parameters of a node that reaches it."""
        return link(self.endpoint, self.keys, robot)


def link(endpoint: str, keys: Path, robot: str = "robot") -> dict[str, str]:
    key_file, server_key = str(keys / f"{robot}.key"), str(keys / f"{SERVER}.pub")
    return {"backend": "zmq", "endpoint": endpoint, "key_file": key_file, "server_key": server_key}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workstation]:
    folder = tmp_path_factory.mktemp("workstation")
    model = write_talkative_model(folder / "qwen")
    keys = make_keys(folder / "keys", "robot")
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    options = ("--keys", str(keys), "--model", str(model), "--threads", "1")
    with ServeRig(folder, endpoint, *options) as server:
        yield Workstation(server, endpoint, keys)


@pytest.fixture
def workstation(machine: Workstation) -> Workstation:
    """The machine, its server running."""
    if not machine.server.running:
        machine.server.start()
    return machine


def lines(output: str, *words: str) -> list[str]:
    """The lines of a log that have all these words."""
    return [line for line in output.splitlines() if all(word in line for word in words)]


def test_words_questions_and_settings_go_over_the_link(
    start: Any, ear: Any, workstation: Workstation
) -> None:
    rig = StreamRig(ear, start, **workstation.link(), model="/no/such/model").wait_until_ready()
    rig.film(0)
    assert rig.hear(1)[0].kind == "commentary"
    assert rig.says("link", OK, "live") and rig.says("model", OK, "ready")
    assert ear.spin_until(lambda: float(rig.value("link", "round trip [ms]") or 0) > 0, 10.0)
    assert rig.value("link", "endpoint") == workstation.endpoint
    assert rig.value("link", "reconnects") == "0"
    questions = ear.node.create_publisher(String, "/svlm/query", 10)
    assert ear.spin_until(questions.get_subscription_count, 10.0)
    questions.publish(String(data=json.dumps({"id": "agent-7", "text": "what is red?"})))
    questions.publish(String(data="x" * 5000))  # too long: the server says so
    assert ear.spin_until(lambda: rig.value("commentary", "questions refused") == "1", 10.0)
    rig.film(1)
    assert (rig.hear(2)[1].kind, rig.events()[1].query_id) == ("answer", "agent-7")
    assert rig.set("max_new_tokens", 2).successful
    rig.film(2)
    assert len(rig.hear(3)[2].text) <= 2  # two tokens of a byte each
    for name, value, words in (("chunk_s", 2.0, "while the node is active"), ("temperature", 99.0, "10")):
        refused = rig.set(name, value)
        assert not refused.successful and words in refused.reason
    assert rig.trigger("reset").success
    assert rig.hear(4)[3].kind == "reset"
    rig.film(10)
    assert rig.hear(5)[4].chunk_index == 0
    assert rig.call(SetBool, "enable", SetBool.Request(data=False)).success
    rig.film(11)
    assert ear.spin_until(lambda: rig.value("images", "frames dropped: disabled") == "2", 10.0)
    assert rig.call(SetBool, "enable", SetBool.Request(data=True)).success
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
    assert len(lines(output, "link live")) == 1, output


def test_a_server_that_is_killed_and_started_again(start: Any, ear: Any, workstation: Workstation) -> None:
    rig = StreamRig(ear, start, **workstation.link()).wait_until_ready()
    for second in (0, 1):
        rig.film(second)
        rig.hear(second + 1)
    workstation.server.kill()
    rig.film(2)
    assert ear.spin_until(lambda: rig.value("images", "frames dropped: link") == "2", 30.0)
    assert rig.says("link", WARN)
    assert rig.says("commentary", STALE, "the link is")
    assert rig.process.poll() is None and rig.state() == "active"
    described = rig.trigger("describe")
    assert not described.success and "link" in described.message  # at once, not after a time-out
    workstation.server.start()
    assert rig.says("link", OK, "live")
    assert rig.value("link", "reconnects") == "1"
    rig.film(3)
    events = rig.hear(5)
    assert sorted(event.kind for event in events[2:]) == ["commentary", "gap", "reset"]
    (gap,) = [event for event in events if event.kind == "gap"]
    (reset,) = [event for event in events if event.kind == "reset"]
    assert gap.frames_dropped == {"link": 2} or reset.frames_dropped == {"link": 2}
    assert "restarted" in reset.text
    assert events[4].kind == "commentary" and events[4].chunk_index == 3
    assert [event.seq for event in events] == list(range(5))
    books = rig.settled()
    assert books["in"] == books["used"] + books["dropped"] == 8 and books["dropped: link"] == 2
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output


def test_a_server_that_is_not_there_yet_is_waited_for(start: Any, ear: Any, workstation: Workstation) -> None:
    workstation.server.kill()
    rig = StreamRig(ear, start, **workstation.link())
    assert rig.says("link", WARN, "connecting")
    assert rig.says("model", WARN, "the link is connecting")
    assert rig.state() == "active"
    rig.film(0)  # nobody looks yet
    assert not rig.trigger("describe").success
    assert rig.set("max_new_tokens", 2).successful  # for when it is there
    began_s = time.monotonic()
    assert rig.change_state("deactivate") and rig.change_state("activate")
    assert time.monotonic() - began_s < END_S
    workstation.server.start()
    rig.wait_until_ready()
    rig.film(1)
    assert len(rig.hear(1)[0].text) <= 2
    assert rig.process.poll() is None
    rig.end()
    assert rig.process.returncode == 0


def test_a_server_that_is_held_and_goes_on(start: Any, ear: Any, workstation: Workstation) -> None:
    rig = StreamRig(ear, start, **workstation.link()).wait_until_ready()
    rig.film(0)
    rig.hear(1)
    os.kill(workstation.server.pid, signal.SIGSTOP)
    try:
        assert rig.says("link", WARN, "stalled", 10.0)
        rig.film(1)
        assert ear.spin_until(lambda: rig.value("images", "frames dropped: link") == "2", 10.0)
    finally:
        os.kill(workstation.server.pid, signal.SIGCONT)
    assert rig.says("link", OK, "live")
    rig.film(2)
    gap, words = rig.hear(3)[1:]
    assert (gap.kind, gap.frames_dropped, words.kind, words.chunk_index) == (
        "gap",
        {"link": 2},
        "commentary",
        2,
    )
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
    assert len(lines(output, "link", "stalled")) == 1, output


def test_a_key_that_is_not_allowed_is_refused_until_it_is(
    start: Any, ear: Any, workstation: Workstation
) -> None:
    store = KeyStore(workstation.keys)
    public = store.new("stranger")
    rig = StreamRig(ear, start, **workstation.link("stranger"))
    assert rig.says("link", ERROR, "refused")
    assert "key" in rig.value("link", "reason")
    assert rig.process.poll() is None and rig.state() == "active"
    store.allow("stranger", public)
    rig.wait_until_ready()
    rig.film(0)
    rig.hear(1)
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
    assert len(lines(output, "refused")) == 1, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_connects_is_a_quick_and_clean_end(
    start: Any, ear: Any, tmp_path: Path, number: signal.Signals
) -> None:
    keys = make_keys(tmp_path / "keys", "robot")
    rig = StreamRig(ear, start, **link(f"tcp://127.0.0.1:{free_port()}", keys))
    assert rig.says("link", WARN, "connecting")
    began_s = time.monotonic()
    output = rig.end(number)
    assert time.monotonic() - began_s < END_S
    assert rig.process.returncode == 0 and "Traceback" not in output, output


def test_a_signal_in_the_middle_of_a_chunk_is_a_quick_and_clean_end(
    start: Any, ear: Any, workstation: Workstation
) -> None:
    rig = StreamRig(ear, start, **workstation.link(), chunk_budget_s=60.0).wait_until_ready()
    rig.film(0)
    rig.hear(1)
    os.kill(workstation.server.pid, signal.SIGSTOP)
    try:
        rig.film(1)
        assert ear.spin_until(lambda: rig.frames_in() == 4, 10.0)
        began_s = time.monotonic()
        output = rig.end()
        assert time.monotonic() - began_s < END_S
    finally:
        os.kill(workstation.server.pid, signal.SIGCONT)
    assert rig.process.returncode == 0 and "Traceback" not in output, output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": ""}, ["endpoint is empty"]),
        ({"endpoint": "workstation"}, ["'workstation'", "tcp://HOST:PORT"]),
        ({"endpoint": "tcp://192.0.2.1:5577"}, ["beyond this machine", "key_file"]),
        ({"endpoint": "tcp://127.0.0.1:5577", "key_file": "/no/such.key"}, ["server_key is empty"]),
        (
            {"endpoint": "tcp://127.0.0.1:5577", "key_file": "/no/such.key", "server_key": "/no/such.pub"},
            ["/no/such.key"],
        ),
        ({"backend": "carrier_pigeon"}, ["backend", "local, zmq"]),
        ({"jpeg_quality": 101}, ["jpeg_quality", "101"]),
    ],
)
def test_a_wrong_parameter_of_the_link_is_one_line_and_exit_1(
    start: Any, changes: dict[str, Any], words: list[str]
) -> None:
    child = start("svlm_ros.stream_node", **{"backend": "zmq", **changes})
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 1, output
    (fatal,) = lines(output, "[FATAL]")
    assert all(word in fatal for word in words) and "Traceback" not in output, output
