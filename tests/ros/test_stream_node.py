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

"""The stream node as a process of its own: images in over DDS, commentary out.

What the node does is tested with a random model, which always has something to say; that the built-in model
says true things is the last test's business.
"""

from __future__ import annotations

from array import array
from itertools import islice
import json
from pathlib import Path
import time
from typing import Any

import jsonschema
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from stream_rig import EPOCH_S, START_LIMIT_S, StreamRig, write_talkative_model
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.load import load_model
from svlm_core.stream.defaults import stream_config
from svlm_core.stream.session import StreamSession
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb, rgb_from_image, stamp_from_ns
from svlm_ros.scoring import Scoreboard
from svlm_ros.watcher import Watcher

REPOSITORY = Path(__file__).parents[2]
LATEST = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talkative_model(tmp_path_factory.mktemp("random") / "qwen")


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_every_second_of_images_becomes_an_event_with_their_stamps(
    shared_rig: StreamRig, transport: str
) -> None:
    rig = shared_rig
    pictures = rig.ear.subscribe(Image, "/svlm/image_annotated")
    rig.renew(image_transport=transport, annotate=True)
    for second in range(3):
        rig.film(second)
        rig.hear(second + 1)
    schema = json.loads((REPOSITORY / "config" / "commentary_event.schema.json").read_text(encoding="utf-8"))
    events = rig.events()
    for number, (line, event) in enumerate(zip(rig.lines, events, strict=True)):
        jsonschema.validate(json.loads(line.data), schema)
        assert line.data.startswith('{"text": ') and "\n" not in line.data
        assert CommentaryEvent.from_json(line.data).to_json() == line.data
        assert (event.seq, event.chunk_index, event.frames_used) == (number, number, 2)
        assert (event.camera, event.frame_id) == ("front", "lens")
        assert event.stamp_oldest_ns == (EPOCH_S + number) * NS_PER_S
        assert event.stamp_newest_ns - event.stamp_oldest_ns == NS_PER_S // 2
        assert 0 < event.latency_ms < 60_000
    assert rig.ear.spin_until(lambda: len(rig.words) == len(pictures) == 3, 5.0)
    assert [word.data for word in rig.words] == [event.text for event in events]
    for picture, event in zip(pictures, events, strict=True):
        assert picture.header.stamp == stamp_from_ns(event.stamp_newest_ns)
        rgb = rgb_from_image(picture)
        assert rgb.shape[1:] == (56, 3) and rgb.shape[0] > 56
        assert abs(int(rgb[:56].mean()) - 100) < 3 and rgb[56:].max() > 200  # the frame, then white letters
    late = rig.ear.subscribe(String, "/svlm/commentary/latest", LATEST)
    assert rig.ear.spin_until(lambda: late, 10.0)  # said before anyone listened
    assert [line.data for line in late] == [rig.lines[-1].data]


def test_a_bag_that_starts_over_and_a_new_image_size_begin_new_streams(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    rig.film(100)
    rig.hear(1)
    rig.film(101)
    rig.hear(2)
    rig.film(7)
    reset, again = rig.hear(4)[2:]
    assert (reset.kind, reset.seq) == ("reset", 2)
    assert "jumped back by" in reset.text
    assert (again.seq, again.chunk_index, again.stamp_oldest_ns) == (3, 0, (EPOCH_S + 7) * NS_PER_S)
    rig.film(8, width=84)  # its first frame shows the change, the second opens the new stream
    rig.film(9, width=84)
    reset, larger = rig.hear(6)[4:]
    assert (reset.kind, larger.kind) == ("reset", "commentary")
    assert "56x56 to 84x56" in reset.text
    assert larger.chunk_index == 0


def test_images_without_a_stamp_get_the_time_of_their_arrival(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    began_ns = time.time_ns()
    for _ in range(2):
        msg = image_from_rgb(np.zeros((56, 56, 3), np.uint8), 0, "lens")
        assert msg.header.stamp == stamp_from_ns(0)
        rig.publisher.publish(msg)
        rig.ear.spin_until(lambda: False, 0.6)
    event = rig.hear(1)[0]
    assert began_ns <= event.stamp_oldest_ns < event.stamp_newest_ns <= time.time_ns()


def test_a_parameter_of_the_user_wins_over_the_checkpoints_own(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew(chunk_s=2.0)
    rig.film(0)
    rig.film(1)
    event = rig.hear(1)[0]
    assert event.frames_used == 4
    assert event.stamp_newest_ns - event.stamp_oldest_ns == 3 * NS_PER_S // 2


def test_a_thousand_garbage_messages_are_counted_and_none_is_fatal(shared_rig: StreamRig) -> None:
    """Raw and compressed garbage of every kind, with a second of good images before and after it."""
    rig = shared_rig.renew()
    rig.film(0)
    rig.hear(1)
    garbage = [
        Image(height=56, width=56, step=100, encoding="rgb8", data=array("B", bytes(56 * 100))),
        Image(height=56, width=56, step=168, encoding="rgb8", data=array("B", b"short")),
        Image(encoding="rgb8"),
        Image(height=56, width=56, step=168, encoding="no-such-encoding", data=array("B", bytes(56 * 168))),
        Image(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1, encoding="bgra8", data=array("B", b"huge")),
        Image(height=1, width=1, step=3, encoding="rgb8", data=array("B", b"one")),
    ]
    for number in range(1000):
        rig.publisher.publish(garbage[number % len(garbage)])
        if number % 10 == 9:
            rig.ear.spin_until(lambda: False, 0.01)
    assert rig.ear.spin_until(lambda: rig.frames_in() == 1002, 60.0), rig.frames_in()
    assert rig.value("images", "frames dropped: broken") == "1000"
    assert rig.says("images", b"\x01", "not pictures")
    rig.film(1)
    assert rig.hear(2)[1].frames_dropped == {"broken": 1000}


def test_corrupt_jpegs_are_counted_and_none_is_fatal(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew(image_transport="compressed")
    rig.film(0)
    rig.hear(1)
    picture = np.random.default_rng(1).integers(0, 256, (56, 56, 3), np.uint8)
    whole = bytes(compressed_from_rgb(picture, 0, "lens", 90).data)
    rng = np.random.default_rng(0)
    for number in range(200):
        broken = whole[: int(rng.integers(0, len(whole) - 2))]  # cut off
        if number % 2:  # whole by its marks, damaged inside: only decoding shows it
            broken = whole.replace(b"\xff\xdb", b"\xff\xfe", 1)
        msg = rig.kind(format="jpeg", data=array("B", broken))
        msg.header.stamp = stamp_from_ns(EPOCH_S * NS_PER_S + round((1 + number / 100) * NS_PER_S))
        rig.publisher.publish(msg)
        if number % 10 == 9:
            rig.ear.spin_until(lambda: False, 0.01)
    assert rig.ear.spin_until(lambda: rig.frames_in() == 202, 60.0), rig.frames_in()
    rig.film(5)
    rig.hear(2)
    books = rig.settled()
    assert books["in"] == 204 == books["used"] + books["dropped"] and books["pending"] == 0
    assert books["dropped: broken"] >= 100


def test_two_namespaces_do_not_mix(start: Any, ear: Any, random_folder: Path, tmp_path: Path) -> None:
    heard = {}
    cameras = {}
    for name in ("left", "right"):
        cameras[name] = ear.node.create_publisher(Image, f"/{name}/image_raw", 10)
        heard[name] = ear.subscribe(String, f"/{name}/commentary")
        start("svlm_ros.stream_node", "-r", f"__ns:=/{name}", model=random_folder, image=f"/{name}/image_raw")
    for name, camera in cameras.items():
        assert ear.spin_until(camera.get_subscription_count, START_LIMIT_S), name
    for number in range(4):
        for name, at_s in (("left", 10), ("right", 20)):
            stamp_ns = (EPOCH_S + at_s) * NS_PER_S + number * NS_PER_S // 2
            cameras[name].publish(image_from_rgb(np.zeros((56, 56, 3), np.uint8), stamp_ns, f"{name}_lens"))
        ear.spin_until(lambda: False, 0.3)
    assert ear.spin_until(lambda: all(len(lines) == 2 for lines in heard.values()), 60.0)
    for name, at_s in (("left", 10), ("right", 20)):
        events = [CommentaryEvent.from_json(line.data) for line in heard[name]]
        assert {event.camera for event in events} == {f"/{name}/image_raw"}
        assert {event.frame_id for event in events} == {f"{name}_lens"}
        assert [event.stamp_oldest_ns // NS_PER_S - EPOCH_S for event in events] == [at_s, at_s + 1]


def test_a_missing_model_folder_is_one_error_line_and_exit_1(start: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    node = start("svlm_ros.stream_node", model=missing)
    output, _ = node.communicate(timeout=START_LIMIT_S)
    assert node.returncode == 1, output
    (line,) = [line for line in output.splitlines() if "FATAL" in line]
    assert str(missing) in line and "Traceback" not in output


def test_the_built_in_model_says_over_ros_what_it_says_in_the_core(start: Any, ear: Any) -> None:
    """Two minutes of an unseen world, a second at a time, against the same frames in the core."""
    seed, length_s = 1_000_217, 120
    model = load_model("tiny")
    session = StreamSession(model, stream_config(model))
    renderer = Renderer(seed)
    rig = StreamRig(ear, start, model="tiny", annotate=True)
    done = ear.subscribe(Image, "/svlm/image_annotated")  # one a chunk, silent or not
    rig.wait_until_ready()
    expected = {}
    for second in islice(seconds(seed), length_s):
        pictures = renderer.frames(second)
        for half, rgb in enumerate(pictures):
            rig.publish(rgb, EPOCH_S * NS_PER_S + second.index * NS_PER_S + half * NS_PER_S // 2)
        frames = tuple(Frame(0, rgb) for rgb in pictures)
        text = session.step(Chunk(second.index, frames)).text
        if text:
            expected[second.index] = text
        assert ear.spin_until(lambda number=second.index: len(done) > number, 60.0), second.index
    said = {event.chunk_index: event.text for event in rig.events() if event.kind == "commentary"}
    wrong = [index for index in expected.keys() | said.keys() if expected.get(index) != said.get(index)]
    assert len(expected) > length_s / 4
    assert len(wrong) <= 1, {index: (expected.get(index), said.get(index)) for index in wrong}
    books = rig.settled()
    assert books["in"] == books["used"] == 2 * length_s


def test_camera_node_and_stream_node_together_say_what_happens(start: Any, ear: Any) -> None:
    seed, length_s = 1_000_007, 20
    watcher = ear.add(Watcher("/camera/image_raw", "/svlm/commentary", ear.context))
    start("svlm_ros.stream_node")
    camera = start(
        "svlm_ros.camera_node",
        source=f"world://{seed}?seconds={length_s}",
        transport="raw",
        wait_for_subscribers=2,
    )
    assert ear.spin_until(lambda: camera.poll() is not None, START_LIMIT_S + length_s)
    ear.spin_until(lambda: watcher.heard_second == length_s - 1, 2.0)
    board = Scoreboard([second.sentence for second in islice(seconds(seed), length_s)])
    for second, events in watcher.events.items():
        for event in events:
            board.hear(second, event.text, event.latency_ms)
    board.settle(length_s)
    assert watcher.images == 2 * length_s
    assert board.accuracy >= 0.8, board.verdicts
