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

import json
import os
from pathlib import Path
import signal
import time
from typing import Any

import numpy as np
import psutil
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool
from stream_rig import EPOCH_S, START_LIMIT_S, StreamRig
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Chunker, Frame, FrameLedger, NS_PER_S
from svlm_core.offload.keys import KeyStore
from svlm_core.offload.link import MUTE
from svlm_core.offload.workers import MUTE_S
from svlm_core.sources.world import WorldSource
from svlm_core.stream.commentator import Commentator
from svlm_ros.conversions import image_from_rgb
from workstation import Workstation

OK, WARN, ERROR, STALE = b"\x00", b"\x01", b"\x02", b"\x03"
END_S = 3.0  # a node that waits for a server ends within


def lines(output: str, *words: str) -> list[str]:
    """The lines of a log that have all these words."""
    return [line for line in output.splitlines() if all(word in line for word in words)]


def test_words_questions_and_settings_go_over_the_link(
    start: Any, ear: Any, workstation: Workstation
) -> None:
    beginnings = ear.subscribe(String, "/svlm/commentary/partial")
    rig = StreamRig(ear, start, **workstation.link(), model="/no/such/model", partial=True)
    rig.wait_until_ready()
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
    texts = [CommentaryEvent.from_json(line.data) for line in beginnings]
    assert {event.kind for event in texts} == {"partial"} and {event.seq for event in texts} == {0, 1}
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
    assert "what was seen is not" in reset.text
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
    request = SetParameters.Request(parameters=[Parameter("max_new_tokens", value=2).to_parameter_msg()])
    (result,) = rig.call(SetParameters, "set_parameters", request).results
    assert result.successful  # for when it is there
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
        rig.film(1)  # is sent, and nobody answers
        assert rig.says("link", WARN, "stalled", 10.0)
        ear.spin_until(lambda: False, 1.5)  # longer than a chunk may take
        for second in (2, 3):
            rig.film(second)
        assert ear.spin_until(lambda: rig.value("images", "frames dropped: link") == "4", 10.0)
    finally:
        os.kill(workstation.server.pid, signal.SIGCONT)
    assert rig.says("link", OK, "live")
    rig.film(4)
    last = ("commentary", 4)
    assert ear.spin_until(lambda: last in [(event.kind, event.chunk_index) for event in rig.events()], 10.0)
    events = rig.events()  # what was said about second 1 came late, or was lost
    assert [event.kind for event in events if event.chunk_index == 4] == ["gap", "commentary"]
    books = rig.settled()
    assert books["in"] == books["used"] + books["dropped"] == 10
    lost = sum(event.frames_dropped.get("link", 0) for event in events)
    assert (
        books["dropped"]
        == books["dropped: link"]
        == lost
        == 10 - 2 * len([event for event in events if event.kind == "commentary"])
    )
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
    assert len(lines(output, "link stalled:")) == 1, output


def test_a_model_that_is_held_and_goes_on(start: Any, ear: Any, workstation: Workstation) -> None:
    rig = StreamRig(ear, start, **workstation.link()).wait_until_ready()
    rig.film(0)
    rig.hear(1)
    (worker,) = psutil.Process(workstation.server.pid).children()
    worker.suspend()
    try:
        assert rig.says("link", WARN, MUTE, MUTE_S + 10.0)
        rig.film(1)
        assert ear.spin_until(lambda: rig.value("images", "frames dropped: link") == "2", 10.0)
    finally:
        worker.resume()
    assert rig.says("link", OK, "live")
    assert rig.value("link", "reconnects") == "0"
    rig.film(2)
    events = rig.hear(3)
    assert [event.kind for event in events] == ["commentary", "gap", "commentary"]
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
    assert lines(output, f"link stalled: {MUTE}"), output


@pytest.mark.parametrize("then_allowed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_key_that_is_not_allowed_is_refused_until_it_is(
    start: Any, ear: Any, workstation: Workstation, then_allowed: bool
) -> None:
    store = KeyStore(workstation.keys)
    robot = f"stranger{then_allowed:d}"
    public = store.new(robot)
    rig = StreamRig(ear, start, **workstation.link(robot))
    assert rig.says("link", ERROR, "refused: the server does not allow this robot's key")
    assert "does not allow this robot's key" in rig.value("link", "reason")
    assert rig.process.poll() is None and rig.state() == "active"
    if then_allowed:  # it asks again every ten seconds
        store.allow(robot, public)
        rig.wait_until_ready()
        rig.film(0)
        rig.hear(1)
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
    assert len(lines(output, "refused")) == 1, output


def test_a_signal_while_it_connects_is_a_quick_and_clean_end(start: Any, ear: Any, tmp_path: Path) -> None:
    rig = StreamRig(ear, start, **Workstation.prepare(tmp_path, "tiny").link())  # nobody starts it
    assert rig.says("link", WARN, "connecting")
    began_s = time.monotonic()
    output = rig.end()
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


def test_a_wrong_parameter_of_the_link_is_one_line_and_exit_1(start: Any) -> None:
    child = start(
        "svlm_ros.stream_node", backend="zmq", endpoint="tcp://127.0.0.1:5577", key_file="robot.key"
    )
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 1 and "Traceback" not in output, output
    (fatal,) = lines(output, "[FATAL]")
    assert "parameter server_key is empty" in fatal


def test_the_cameras_of_an_engine_node_have_a_link_each(
    start: Any, ear: Any, workstation: Workstation
) -> None:
    topics = {name: f"/{name}/image_raw" for name in ("front", "rear")}
    depths = {f"qos_overrides.{topic}.subscription.depth": 100 for topic in topics.values()}
    process = start("svlm_ros.engine_node", cameras="[front, rear]", **workstation.link(), **depths)
    cameras = {name: ear.node.create_publisher(Image, topic, 10) for name, topic in topics.items()}
    heard = {name: ear.subscribe(String, f"/{name}/commentary") for name in topics}
    for camera in cameras.values():
        assert ear.spin_until(camera.get_subscription_count, START_LIMIT_S)
    for name, camera in cameras.items():
        for half in range(2):
            stamp_ns = EPOCH_S * NS_PER_S + half * NS_PER_S // 2
            camera.publish(image_from_rgb(np.zeros((56, 56, 3), np.uint8), stamp_ns, f"{name}_lens"))
    assert ear.spin_until(lambda: all(heard.values()), 30.0)
    for name, topic in topics.items():
        assert CommentaryEvent.from_json(heard[name][0].data).camera == topic
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert len(lines(output, "link live")) == 2, output


def test_pictures_without_loss_give_the_words_that_the_model_says_here(
    start: Any, ear: Any, tmp_path: Path
) -> None:
    """The embedded model, once in this process, once behind DDS and the link."""
    from svlm_core.model.load import load_model
    from svlm_core.stream.defaults import stream_config
    from svlm_core.stream.session import StreamSession

    frames = [
        Frame(EPOCH_S * NS_PER_S + frame.stamp_ns, frame.rgb)
        for frame in WorldSource(seed=1_000_217, seconds=30)
    ]
    model = load_model("tiny")
    config = stream_config(model)
    ledger = FrameLedger()
    chunker, here = (
        Chunker(config.chunk_s, config.fps, ledger),
        Commentator(StreamSession(model, config), ledger, ""),
    )
    chunks = [chunk for frame in frames for chunk in chunker.push(frame)]
    expected = [event for chunk in chunks for event in here.take(chunk)]
    assert len(expected) > 5
    workstation = Workstation.prepare(tmp_path, "tiny")
    with workstation.server:
        seen = ear.subscribe(Image, "/svlm/image_annotated")  # one for each chunk, also where nothing is said
        beginnings = ear.subscribe(String, "/svlm/commentary/partial", 1000)
        lossless = {"jpeg_quality": 0, "annotate": True, "partial": True}
        rig = StreamRig(ear, start, **workstation.link(), **lossless).wait_until_ready()
        for number, chunk in enumerate(chunks, 1):
            for frame in chunk.frames:
                rig.publish(frame.rgb, frame.stamp_ns)
            assert ear.spin_until(lambda number=number: len(seen) == number, 30.0)
        events = rig.hear(len(expected))
        rig.end()
    assert [told(event) for event in events] == [told(event) for event in expected]
    assert beginnings
    for partial in (CommentaryEvent.from_json(line.data) for line in beginnings):
        assert events[partial.seq].text.startswith(partial.text)


def told(event: CommentaryEvent) -> tuple[Any, ...]:
    """An event without its names and times of day."""
    span_ns = (event.stamp_oldest_ns, event.stamp_newest_ns)
    return event.text, event.kind, event.seq, event.chunk_index, *span_ns, event.frames_used
