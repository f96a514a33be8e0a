"""The stream node as a process of its own: images in over DDS, commentary out.

What the node does is tested with a random model, which always has something to say; that the built-in model
says true things is the last test's business.
"""

from __future__ import annotations

import json
import signal
import time
from array import array
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from random_models import write_random_model
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from svlm_core.events import KIND_RESET, CommentaryEvent
from svlm_core.frames import NS_PER_S
from svlm_core.world.scene import seconds
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb, stamp_from_ns
from svlm_ros.scoring import Scoreboard
from svlm_ros.watcher import Watcher

REPOSITORY = Path(__file__).parents[2]
START_LIMIT_S = 240.0  # torch's import on a busy machine
RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
EPOCH_S = 1_700_000_000


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small random checkpoint whose frames need few tokens."""
    folder = write_random_model(tmp_path_factory.mktemp("random") / "qwen")
    (folder / "stream.yaml").write_text(
        "min_visual_tokens: 1\nmax_visual_tokens: 9\nmax_new_tokens: 4\ntext_sink_tokens: 16\n"
        "text_window_tokens: 32\n"
    )
    return folder


class Camera:
    """A publisher of the test's own, and the node that listens to it."""

    def __init__(self, ear: Any, start: Any, model: Path, transport: str = "raw", **parameters: Any) -> None:
        self.ear = ear
        self.kind = Image if transport == "raw" else CompressedImage
        topic = "/front/image" if transport == "raw" else "/front/image/compressed"
        self.publisher = ear.node.create_publisher(self.kind, topic, RELIABLE)
        self.lines = ear.subscribe(String, "/svlm/commentary")
        self.words = ear.subscribe(String, "/svlm/commentary/text")
        self.node = start(
            "svlm_ros.stream_node",
            model=model,
            image="/front/image",
            image_transport=transport,
            camera="front",
            **parameters,
        )
        ready = ear.spin_until(self.publisher.get_subscription_count, START_LIMIT_S)
        assert ready, self.end()

    def film(self, at_s: float, width: int = 56) -> None:
        """Publish one second: two frames, and wait until the node had time to take the chunk."""
        for half in (0.0, 0.5):
            rgb = np.full((56, width, 3), 100, np.uint8)
            stamp_ns = EPOCH_S * NS_PER_S + round((at_s + half) * NS_PER_S)
            if self.kind is Image:
                self.publisher.publish(image_from_rgb(rgb, stamp_ns, "lens"))
            else:
                self.publisher.publish(compressed_from_rgb(rgb, stamp_ns, "lens", 90))

    def hear(self, number: int) -> list[CommentaryEvent]:
        """Wait for this many events."""
        assert self.ear.spin_until(lambda: len(self.lines) >= number, 60.0), self.end()
        return [CommentaryEvent.from_json(line.data) for line in self.lines]

    def end(self, number: signal.Signals = signal.SIGINT) -> str:
        """Stop the node; its whole output."""
        self.node.send_signal(number)
        output: str = self.node.communicate(timeout=90)[0]
        return output


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_every_second_of_images_becomes_an_event_with_their_stamps(
    start: Any, ear: Any, random_folder: Path, transport: str
) -> None:
    camera = Camera(ear, start, random_folder, transport)
    for second in range(3):
        camera.film(second)
        camera.hear(second + 1)
    events = camera.hear(3)
    schema = json.loads((REPOSITORY / "config" / "commentary_event.schema.json").read_text(encoding="utf-8"))
    for number, (line, event) in enumerate(zip(camera.lines, events, strict=True)):
        jsonschema.validate(json.loads(line.data), schema)
        assert line.data.startswith('{"text": ') and "\n" not in line.data
        assert (event.seq, event.chunk_index, event.frames_used) == (number, number, 2)
        assert (event.camera, event.frame_id) == ("front", "lens")
        assert event.stamp_oldest_ns == (EPOCH_S + number) * NS_PER_S
        assert event.stamp_newest_ns - event.stamp_oldest_ns == NS_PER_S // 2
        assert 0 < event.latency_ms < 60_000
    assert ear.spin_until(lambda: len(camera.words) == 3, 5.0)
    assert [word.data for word in camera.words] == [event.text for event in events]
    output = camera.end(signal.SIGTERM)
    assert camera.node.returncode == 0 and "Traceback" not in output, output


def test_broken_images_are_counted_and_reported_and_the_stream_goes_on(
    start: Any, ear: Any, random_folder: Path
) -> None:
    camera = Camera(ear, start, random_folder)
    camera.film(0)
    camera.hear(1)
    for encoding, data in (("rgb8", b"short"), ("no-such-encoding", b"")):
        camera.publisher.publish(
            Image(height=56, width=56, step=168, encoding=encoding, data=array("B", data))
        )
    camera.film(1)
    assert camera.hear(2)[1].frames_dropped == {"broken": 2}
    output = camera.end()
    assert camera.node.returncode == 0 and "Traceback" not in output, output
    assert "dropped an image" in output


def test_a_bag_that_starts_over_and_a_new_image_size_begin_new_streams(
    start: Any, ear: Any, random_folder: Path
) -> None:
    camera = Camera(ear, start, random_folder)
    camera.film(100)
    camera.film(101)
    camera.hear(2)
    camera.film(7)
    reset, again = camera.hear(4)[2:]
    assert (reset.kind, reset.seq, reset.stamp_newest_ns) == (
        KIND_RESET,
        2,
        EPOCH_S * NS_PER_S + 203 * NS_PER_S // 2,
    )
    assert "time jumped back by 94.5 s" in reset.text
    assert (again.seq, again.chunk_index, again.stamp_oldest_ns) == (3, 0, (EPOCH_S + 7) * NS_PER_S)
    camera.film(8, width=84)  # its first frame shows the change, the second opens the new stream
    camera.film(9, width=84)
    reset, larger = camera.hear(6)[4:]
    assert reset.kind == KIND_RESET and "56x56 to 84x56" in reset.text
    assert (larger.seq, larger.chunk_index) == (5, 0)
    assert ear.spin_until(lambda: len(camera.words) == 4, 5.0)
    spoken = [event.words for event in camera.hear(6) if event.kind != KIND_RESET]
    assert [word.data for word in camera.words] == spoken, "a reason was published as words"
    output = camera.end()
    assert "jumped back by" in output and "56x56 to 84x56" in output


def test_images_without_a_stamp_get_the_time_of_their_arrival(
    start: Any, ear: Any, random_folder: Path
) -> None:
    camera = Camera(ear, start, random_folder)
    began_ns = time.time_ns()
    for _ in range(2):
        msg = image_from_rgb(np.zeros((56, 56, 3), np.uint8), 0, "lens")
        assert msg.header.stamp == stamp_from_ns(0)
        camera.publisher.publish(msg)
        ear.spin_until(lambda: False, 0.6)
    event = camera.hear(1)[0]
    assert began_ns <= event.stamp_oldest_ns < event.stamp_newest_ns <= time.time_ns()
    assert "carry no stamp" in camera.end()


def test_a_parameter_of_the_user_wins_over_the_checkpoints_own(
    start: Any, ear: Any, random_folder: Path
) -> None:
    camera = Camera(ear, start, random_folder, chunk_s=2)
    camera.film(0)
    camera.film(1)
    event = camera.hear(1)[0]
    assert event.frames_used == 4
    assert event.stamp_newest_ns - event.stamp_oldest_ns == 3 * NS_PER_S // 2


def test_a_namespace_from_outside_moves_the_topics(start: Any, ear: Any, tmp_path: Path) -> None:
    start("svlm_ros.stream_node", "-r", "__ns:=/arena", model=tmp_path / "none")
    assert ear.spin_until(lambda: "/arena/commentary" in dict(ear.node.get_topic_names_and_types()), 90.0)


def test_a_missing_model_folder_is_one_error_line_and_exit_1(start: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    node = start("svlm_ros.stream_node", model=missing)
    output, _ = node.communicate(timeout=START_LIMIT_S)
    assert node.returncode == 1, output
    (line,) = [line for line in output.splitlines() if "FATAL" in line]
    assert str(missing) in line and "Traceback" not in output


def test_the_built_in_model_says_what_happens_in_an_unseen_world(start: Any, ear: Any) -> None:
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
