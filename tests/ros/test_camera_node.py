"""The camera node as a process of its own, heard over DDS."""

from __future__ import annotations

import signal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from svlm_core.frames import NS_PER_S
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


def test_a_missing_video_is_one_line_and_exit_1(start: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    camera = start("svlm_ros.camera_node", source=missing)
    output, _ = camera.communicate(timeout=90)
    assert camera.returncode == 1
    assert len(output.strip().splitlines()) == 1, output
    assert str(missing) in output
