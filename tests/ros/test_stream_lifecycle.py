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

"""The stream node's life: transitions, clocks, quality of service, and what its diagnostics say of them."""

from __future__ import annotations

from pathlib import Path
import re
import time
from typing import Any

import numpy as np
import psutil
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String
from stream_rig import BEST_EFFORT, EPOCH_S, IMAGE, START_LIMIT_S, StreamRig, write_talkative_model
from svlm_core.frames import NS_PER_S
from svlm_ros.conversions import image_from_rgb, ns_from_stamp, stamp_from_ns

JUMP = re.compile(r"time jumped back by 2\.[05] s")  # a node sees the newest /clock only, not each
OK, WARN, ERROR, STALE = b"\x00", b"\x01", b"\x02", b"\x03"


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talkative_model(tmp_path_factory.mktemp("random") / "qwen")


def test_every_transition_and_the_memory_of_the_model(start: Any, ear: Any, tmp_path: Path) -> None:
    model = write_talkative_model(
        tmp_path / "qwen",
        num_hidden_layers=8,
        intermediate_size=32768,
    )
    weights_bytes = (model / "model.safetensors").stat().st_size
    rig = StreamRig(ear, start, autostart=False, model=tmp_path / "missing")
    process = psutil.Process(rig.process.pid)
    assert rig.state() == "unconfigured"
    assert rig.change_state("configure")
    assert rig.says("model", OK, "the node is inactive")
    assert rig.change_state("activate")
    assert rig.says("model", ERROR, "missing")  # loading failed, off the executor
    assert rig.state() == "inactive"  # so that a lifecycle manager sees it
    assert rig.change_state("cleanup")
    assert rig.set("model", str(model)).successful
    assert rig.change_state("configure") and rig.change_state("activate")
    rig.wait_until_ready()
    assert rig.says("model", OK, "ready")
    active_bytes, inactive_bytes = [], []
    for second in range(3):
        rig.film(second)
        assert rig.hear(1)[0].seq == 0  # each activation is a stream of its own
        active_bytes.append(process.memory_info().rss)
        assert rig.change_state("deactivate")
        assert ear.spin_until(lambda: not rig.publisher.get_subscription_count(), 10.0)
        inactive_bytes.append(process.memory_info().rss)
        rig.lines.clear()
        assert rig.change_state("activate")
        rig.wait_until_ready()
    # the first time, libraries are loaded in between
    freed_bytes = [active - inactive for active, inactive in zip(active_bytes, inactive_bytes, strict=True)]
    assert min(freed_bytes[1:]) > 0.8 * weights_bytes, (active_bytes, inactive_bytes)
    assert inactive_bytes[2] - inactive_bytes[0] < weights_bytes, (
        inactive_bytes
    )  # would be twice that if kept
    assert not rig.change_state("configure")  # not from here
    assert rig.change_state("shutdown")
    assert rig.state() == "finalized"
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output


def test_deactivated_and_activated_while_the_model_loads(start: Any, ear: Any, random_folder: Path) -> None:
    rig = StreamRig(ear, start, model=random_folder)
    for _ in range(3):
        assert rig.change_state("deactivate") and rig.change_state("activate")
    rig.wait_until_ready()
    rig.film(0)
    rig.hear(1)
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output


def test_a_configuration_that_fails_can_be_mended(shared_rig: StreamRig) -> None:
    rig = shared_rig
    assert rig.set("image", "no/such topic").successful
    assert not rig.change_state("configure")
    assert rig.state() == "unconfigured"
    assert rig.set("image", IMAGE).successful
    rig.renew()


def test_a_mismatch_is_in_the_diagnostics_within_two_seconds(
    start: Any, ear: Any, random_folder: Path
) -> None:
    """The user insists on reliable, the camera offers best effort; then a camera of another type."""
    override = {f"qos_overrides.{IMAGE}.subscription.reliability": "reliable"}
    rig = StreamRig(ear, start, model=random_folder, **override)
    assert rig.says("images", WARN, "no image yet", START_LIMIT_S)  # loaded, subscribed
    camera = ear.node.create_publisher(Image, IMAGE, BEST_EFFORT)
    began_s = time.monotonic()
    assert rig.says("images", ERROR, "does not offer the QoS asked for")
    assert time.monotonic() - began_s < 2.0
    status = rig.status("images")
    assert status is not None and "/ear" in status.message  # who it is
    ear.node.destroy_publisher(camera)
    assert rig.says("images", WARN, "no image yet")
    ear.node.destroy_publisher(rig.publisher)
    assert rig.says("images", WARN, "waiting for a publisher")
    ear.node.create_publisher(String, IMAGE, 1)
    began_s = time.monotonic()
    assert rig.says("images", ERROR, "std_msgs/msg/String")
    assert time.monotonic() - began_s < 2.0
    rig.end()


def test_a_publisher_that_is_silent_is_said_so(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    assert rig.says("images", WARN, "no image came for", 20.0)
    status = rig.status("images")
    assert status is not None and "is the camera running?" in status.message
    raw = rig.ear.node.create_publisher(Image, IMAGE, BEST_EFFORT)  # loses large images, with some settings
    assert rig.says("images", WARN, "FASTDDS_DEFAULT_PROFILES_FILE", 20.0)
    rig.ear.node.destroy_publisher(raw)


def test_a_bag_that_loops_on_simulated_time(start: Any, ear: Any, random_folder: Path) -> None:
    clock = ear.node.create_publisher(Clock, "/clock", 10)
    rig = StreamRig(ear, start, model=random_folder, use_sim_time=True).wait_until_ready()
    assert rig.says("images", WARN, "nobody publishes /clock") or rig.says("images", WARN, "no image yet")
    bag_s = (100.0, 100.5, 101.0, 101.5, 102.0, 102.5)
    spoken = 0
    for loop in range(3):
        for at_s in bag_s:
            stamp_ns = round(at_s * NS_PER_S)
            clock.publish(Clock(clock=stamp_from_ns(stamp_ns)))
            rig.publisher.publish(image_from_rgb(np.zeros((56, 56, 3), np.uint8), stamp_ns, "lens"))
            if at_s % 1.0:  # a chunk is complete
                spoken += 1 + (loop > 0 and at_s == bag_s[1])
                rig.hear(spoken)
    events = rig.events()
    kinds = [event.kind for event in events]
    one_loop = ["commentary"] * 3
    assert kinds == [*one_loop, "reset", *one_loop, "reset", *one_loop]
    resets = [event.text for event in events if event.kind == "reset"]
    assert all(JUMP.search(text) for text in resets), resets
    assert [event.seq for event in events] == list(range(11))
    assert [event.chunk_index for event in events] == [0, 1, 2, 0, 0, 1, 2, 0, 0, 1, 2]
    assert all(event.latency_ms >= 0 for event in events)
    ear.spin_until(lambda: False, 1.5)
    assert float(rig.value("commentary", "age p50 [s]")) >= 0.0
    assert float(rig.value("commentary", "age p95 [s]")) < 5.0  # by the bag's clock, not by today's
    assert ns_from_stamp(rig.diagnostics[-1].header.stamp) == round(bag_s[-1] * NS_PER_S)
    clock.publish(Clock(clock=stamp_from_ns(50 * NS_PER_S)))  # set back though no image comes
    reset = rig.hear(12)[11]
    assert reset.kind == "reset" and "time jumped back by 52.5 s" in reset.text
    output = rig.end()
    assert JUMP.search(output) and "Traceback" not in output


def test_stamps_that_do_not_fit_the_clock_are_said_so(shared_rig: StreamRig) -> None:
    rig = shared_rig.renew()
    rig.film(0)  # in the year 2023
    rig.hear(1)
    assert rig.says("commentary", WARN, "use_sim_time")
    ahead_s = time.time() + 3600 - EPOCH_S
    rig.film(ahead_s)
    rig.film(ahead_s + 1)
    assert rig.says("images", WARN, "ahead of this node's clock")
    assert float(rig.value("commentary", "age p50 [s]")) >= 0.0
