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

"""The camera node as a process of its own, heard over DDS."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
import signal
import time
from typing import Any

import numpy as np
import pytest
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from stream_server import StreamServer
from svlm_core.frames import NS_PER_S
from svlm_core.world.bag import START_NS, write_bag
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds
from svlm_ros.conversions import ns_from_stamp, rgb_from_compressed, rgb_from_image

SEED = 1_000_007
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def test_every_image_of_a_clip_arrives_unchanged_half_a_second_apart(start: Any, ear: Any) -> None:
    raw = ear.subscribe(Image, "/camera/image_raw", RELIABLE)
    jpeg = ear.subscribe(CompressedImage, "/camera/image_raw/compressed", RELIABLE)
    camera = start(
        "svlm_ros.camera_node", source=f"world://{SEED}?seconds=3", frame_id="lens", wait_for_subscribers=2
    )
    assert ear.spin_until(lambda: camera.poll() is not None, 90.0)
    ear.spin_until(lambda: len(jpeg) == 6, 1.0)

    assert camera.returncode == 0, camera.communicate()[0]
    renderer = Renderer(SEED)
    pictures = np.concatenate([renderer.frames(second) for second in islice(seconds(SEED), 3)])
    assert [msg.encoding for msg in raw] == ["rgb8"] * 6
    np.testing.assert_array_equal([rgb_from_image(msg) for msg in raw], pictures)
    stamps_ns = [ns_from_stamp(msg.header.stamp) for msg in raw]
    assert np.diff(stamps_ns).tolist() == [NS_PER_S // 2] * 5
    assert {msg.header.frame_id for msg in raw} == {"lens"}
    assert [ns_from_stamp(msg.header.stamp) for msg in jpeg] == stamps_ns
    differences = np.abs(np.stack([rgb_from_compressed(msg) for msg in jpeg]).astype(int) - pictures)
    assert differences.mean() < 8


def test_a_looped_clip_goes_on_with_stamps_that_advance(start: Any, ear: Any) -> None:
    raw = ear.subscribe(Image, "/camera/image_raw", RELIABLE)
    camera = start(
        "svlm_ros.camera_node",
        source=f"world://{SEED}?seconds=1",
        loop=True,
        transport="raw",
        wait_for_subscribers=1,
    )
    assert ear.spin_until(lambda: len(raw) >= 5, 90.0)
    camera.send_signal(signal.SIGINT)
    assert camera.wait(10.0) == 0, camera.communicate()[0]
    stamps_ns = [ns_from_stamp(msg.header.stamp) for msg in raw]
    assert np.diff(stamps_ns).min() > 0.4 * NS_PER_S
    assert bytes(raw[0].data) == bytes(raw[2].data)
    assert "/camera/image_raw/compressed" not in dict(ear.node.get_topic_names_and_types())


def test_the_rate_makes_a_recording_faster_and_stamps_keep_up_with_the_clock(start: Any, ear: Any) -> None:
    raw = ear.subscribe(Image, "/camera/image_raw", RELIABLE)
    camera = start(
        "svlm_ros.camera_node",
        source=f"world://{SEED}?seconds=4",
        rate=5,
        transport="raw",
        wait_for_subscribers=1,
    )
    assert ear.spin_until(lambda: len(raw) == 8, 90.0)
    assert ear.spin_until(lambda: camera.poll() is not None, 30.0)
    stamps_ns = [ns_from_stamp(msg.header.stamp) for msg in raw]
    assert np.diff(stamps_ns).tolist() == [NS_PER_S // 10] * 7
    assert abs(stamps_ns[-1] - time.time_ns()) < 30 * NS_PER_S


def test_a_looped_recording_drives_the_clock_of_nodes_with_sim_time(start: Any, ear: Any) -> None:
    raw = ear.subscribe(Image, "/camera/image_raw", RELIABLE)
    ticks = ear.subscribe(Clock, "/clock", 100)
    sim = ear.add(
        Node(
            "sim",
            context=ear.context,
            parameter_overrides=[Parameter("use_sim_time", Parameter.Type.BOOL, True)],
        )
    )
    jumps: list[int] = []
    thresholds = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
    handle = sim.get_clock().create_jump_callback(
        thresholds, post_callback=lambda jump: jumps.append(jump.delta.nanoseconds)
    )
    camera = start(
        "svlm_ros.camera_node",
        source=f"world://{SEED}?seconds=2",
        rate=4,
        loop=True,
        publish_clock=True,
        transport="raw",
        wait_for_subscribers=1,
    )
    assert ear.spin_until(lambda: len(raw) >= 10 and len(jumps) >= 2, 90.0)
    camera.send_signal(signal.SIGINT)
    assert camera.wait(10.0) == 0, camera.communicate()[0]

    handle.unregister()

    half_s = NS_PER_S // 2
    recording_ns = [NS_PER_S + k * half_s for k in range(4)]  # from 1 s, because 0 is "no time yet"
    assert [ns_from_stamp(msg.header.stamp) for msg in raw[:8]] == recording_ns * 2
    ticks_ns = np.array([ns_from_stamp(msg.clock) for msg in ticks])
    back = np.diff(ticks_ns) < 0
    assert 1 <= back.sum() == len(jumps) <= 3
    assert np.all(ticks_ns[1:][back] == NS_PER_S)  # each time back to the start
    assert set(recording_ns) <= set(ticks_ns.tolist())
    assert all(-2 * NS_PER_S < jump < -NS_PER_S for jump in jumps)
    assert len(ticks) > 2 * len(raw)  # ticks between the images


def test_a_bag_is_played_with_its_own_stamps_and_coordinate_frame(
    start: Any, ear: Any, tmp_path: Path
) -> None:
    write_bag(SEED, 2, tmp_path / "bag", "mcap", "raw", lambda n: None)
    raw = ear.subscribe(Image, "/camera/image_raw", RELIABLE)
    ticks = ear.subscribe(Clock, "/clock", 100)
    camera = start(
        "svlm_ros.camera_node",
        source=tmp_path / "bag",
        publish_clock=True,
        rate=4.0,
        transport="raw",
        wait_for_subscribers=1,
    )
    assert ear.spin_until(lambda: camera.poll() is not None, 90.0)
    assert camera.returncode == 0, camera.communicate()[0]
    assert [ns_from_stamp(msg.header.stamp) for msg in raw] == [
        START_NS + k * NS_PER_S // 2 for k in range(4)
    ]
    assert {msg.header.frame_id for msg in raw} == {"camera"}
    renderer = Renderer(SEED)
    pictures = np.concatenate([renderer.frames(second) for second in islice(seconds(SEED), 2)])
    np.testing.assert_array_equal([rgb_from_image(msg) for msg in raw], pictures)
    assert min(ns_from_stamp(msg.clock) for msg in ticks) == START_NS


def test_a_stream_that_is_lost_is_published_again_when_it_is_back(
    start: Any, ear: Any, write_video: Any
) -> None:
    raw = ear.subscribe(Image, "/camera/image_raw", RELIABLE)
    with StreamServer(write_video("a.ts", frames=60, noise=True), "rtsp") as server:
        server.start()
        camera = start("svlm_ros.camera_node", source=server.url, transport="raw")
        assert ear.spin_until(lambda: len(raw) >= 3, 90.0)
        server.kill()
        killed_ns = time.time_ns()
        counts = [0]  # what had arrived before is played to its end; then come attempts in vain
        while len(raw) > counts[-1]:
            counts.append(len(raw))
            ear.spin_until(lambda: len(raw) > counts[-1], 2.0)
        seen = len(raw)
        server.start()
        assert ear.spin_until(lambda: len(raw) >= seen + 3, 60.0)
    camera.send_signal(signal.SIGINT)
    output, _ = camera.communicate(timeout=30)
    assert camera.returncode == 0, output
    assert "; trying again in " in output and " is back after " in output
    assert "secret" not in output
    stamps_ns = [ns_from_stamp(msg.header.stamp) for msg in raw]
    assert stamps_ns[0] < killed_ns < stamps_ns[-1]
    assert stamps_ns == sorted(stamps_ns)


def test_a_camera_that_is_not_there_is_waited_for_until_ctrl_c(start: Any, ear: Any) -> None:
    camera = start("svlm_ros.camera_node", source=4321)
    said = iter(camera.stdout.readline, "")
    assert "camera 4321 cannot be opened" in next(line for line in said if "trying again" in line)
    camera.send_signal(signal.SIGINT)
    assert camera.wait(30.0) == 0


@pytest.mark.parametrize(("name", "value"), [("publish_clock", True), ("rate", 2.0), ("loop", True)])
def test_what_only_a_recording_can_do_is_refused_for_a_camera(start: Any, name: str, value: Any) -> None:
    camera = start("svlm_ros.camera_node", source="rtsp://127.0.0.1:9/x", **{name: value})
    output, _ = camera.communicate(timeout=90)
    assert camera.returncode == 1
    assert f"parameter {name} is for recorded sources" in output
    assert len(output.strip().splitlines()) == 1, output


def test_the_quality_of_service_can_be_overridden(start: Any, ear: Any) -> None:
    policy = "qos_overrides./camera/image_raw.publisher"
    start("svlm_ros.camera_node", **{f"{policy}.reliability": "best_effort", f"{policy}.depth": 2})

    def offered() -> list[tuple[Any, ReliabilityPolicy]]:
        topics = "/camera/image_raw", "/camera/image_raw/compressed"
        infos = [info for topic in topics for info in ear.node.get_publishers_info_by_topic(topic)]
        return [(info.topic_type, info.qos_profile.reliability) for info in infos]

    assert ear.spin_until(lambda: len(offered()) == 2, 90.0)
    assert offered() == [
        ("sensor_msgs/msg/Image", ReliabilityPolicy.BEST_EFFORT),
        ("sensor_msgs/msg/CompressedImage", ReliabilityPolicy.RELIABLE),
    ]


def test_a_missing_video_is_one_line_and_exit_1(start: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    camera = start("svlm_ros.camera_node", source=missing)
    output, _ = camera.communicate(timeout=90)
    assert camera.returncode == 1
    assert len(output.strip().splitlines()) == 1, output
    assert str(missing) in output
