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

"""How the nodes' processes end, by signals at bad moments and by wrong parameters."""

from __future__ import annotations

from pathlib import Path
import signal
import subprocess
import time
from typing import Any

import numpy as np
import psutil
import pytest
from sensor_msgs.msg import Image
from svlm_ros.conversions import image_from_rgb, stamp_from_ns

NODES = ["svlm_ros.camera_node", "svlm_ros.stream_node"]


def handles(child: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for the signal (Linux)."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def wait_for_handler(child: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + 90
    while not handles(child, signal.SIGTERM):
        assert time.monotonic() < end_s and child.poll() is None
        time.sleep(0.002)


def wait_for_line(child: subprocess.Popen[str], text: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")


@pytest.mark.parametrize("module", NODES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_start_up_is_a_clean_end(start: Any, module: str, number: signal.Signals) -> None:
    child = start(module)
    wait_for_handler(child)
    child.send_signal(number)
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 0, output
    assert "Traceback" not in output


def test_two_signals_in_a_row_are_a_clean_end(start: Any) -> None:
    child = start("svlm_ros.camera_node", wait_for_subscribers=1)
    wait_for_line(child, "waiting for 1 subscribers")
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 0, output
    assert "Traceback" not in output


def test_a_signal_while_the_model_loads_is_a_clean_end(start: Any) -> None:
    child = start("svlm_ros.stream_node")
    wait_for_line(child, "loading model")
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 0, output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("module", "parameters", "names"),
    [
        ("svlm_ros.stream_node", {"chnk_s": 2.0}, ["chnk_s", "chunk_s"]),
        ("svlm_ros.stream_node", {"fps": 1000.0}, ["fps", "1000"]),
        ("svlm_ros.stream_node", {"max_new_tokens": "many"}, ["max_new_tokens", "many"]),
        ("svlm_ros.stream_node", {"policy": "forever"}, ["policy", "streaming", "forever"]),
        ("svlm_ros.stream_node", {"image": "no/such topic"}, ["no/such topic"]),
        ("svlm_ros.camera_node", {"jpeg_quality": 101}, ["jpeg_quality", "101"]),
    ],
)
def test_a_wrong_parameter_is_one_line_and_exit_1(
    start: Any, module: str, parameters: dict[str, Any], names: list[str]
) -> None:
    child = start(module, **parameters)
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 1, output
    assert len(output.strip().splitlines()) == 1, output
    assert all(name in output for name in names), output


def test_arguments_that_ros_cannot_read_are_quoted_and_exit_1(start: Any) -> None:
    child = start("svlm_ros.camera_node", "-p", "source=world://7")
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 1, output
    assert "source=world://7" in output and "Traceback" not in output


def test_a_parameter_of_another_node_is_only_a_warning(start: Any) -> None:
    child = start("svlm_ros.camera_node", source="world://7?seconds=1", wheel_radius=0.1)
    output, _ = child.communicate(timeout=90)
    assert child.returncode == 0, output
    assert "wheel_radius" in output


def test_a_camera_index_and_a_whole_number_of_seconds_need_no_quotes(start: Any) -> None:
    camera = start("svlm_ros.camera_node", source=9999)
    wait_for_line(camera, "camera 9999")  # it may be plugged in later
    stream = start("svlm_ros.stream_node", chunk_s=1)
    wait_for_line(stream, "loading model")


@pytest.mark.parametrize("ends", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_ctrl_c_at_random_moments_is_a_clean_end(start: Any, ear: Any, ends: int) -> None:
    """While Python imports, the model loads, the first images come, a chunk is in work; sometimes twice.

    The moments begin with the handlers: before them there is only the interpreter.
    """
    rng = np.random.default_rng(ends)
    publisher = ear.node.create_publisher(Image, "/camera/image_raw", 10)
    message = image_from_rgb(np.zeros((84, 84, 3), np.uint8), 0, "lens")
    for batch in range(0, ends, 5):
        nodes = [start("svlm_ros.stream_node") for _ in range(5)]
        for node in nodes:
            wait_for_handler(node)
        began_s = time.monotonic()
        moments_s = rng.uniform(0.0, 15.0, len(nodes))
        waiting = dict(zip(moments_s, nodes, strict=True))
        while waiting:
            message.header.stamp = stamp_from_ns(time.time_ns())
            publisher.publish(message)
            ear.spin_until(lambda: False, 0.05)
            for moment_s in [each for each in waiting if time.monotonic() - began_s > each]:
                node = waiting.pop(moment_s)
                node.send_signal(signal.SIGINT)
                if rng.random() < 0.5:
                    node.send_signal(signal.SIGINT)
        for node, moment_s in zip(nodes, moments_s, strict=True):
            output, _ = node.communicate(timeout=90)
            assert node.returncode in (0, 130), (batch, moment_s, output)
            assert "Traceback" not in output, (batch, moment_s, output)
            assert not psutil.pid_exists(node.pid)
