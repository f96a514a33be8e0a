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

"""Many cameras on one model in one process."""

from __future__ import annotations

from pathlib import Path
import signal
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import String
from stream_rig import EPOCH_S, START_LIMIT_S, write_talkative_model
from svlm_core.errors import ConfigError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import NS_PER_S
from svlm_ros.conversions import image_from_rgb
from svlm_ros.engine import check_cameras, without_node_names
import yaml


def test_two_cameras_share_one_model_and_keep_their_own_settings(
    start: Any, ear: Any, tmp_path: Path
) -> None:
    model = write_talkative_model(tmp_path / "qwen")
    topics = {"front": "/fleet/front/image_raw", "rear": "/back/image"}
    deep = {
        topic: {"subscription": {"depth": 100}} for topic in topics.values()
    }  # frames come in bursts here
    settings = {
        "/**": {"ros__parameters": {"qos_overrides": deep}},
        "/fleet/engine_node": {"ros__parameters": {"model": str(model), "cameras": ["front", "rear"]}},
        "/fleet/rear/stream_node": {"ros__parameters": {"image": "/back/image", "chunk_s": 2.0}},
    }
    parameters = tmp_path / "fleet.yaml"
    parameters.write_text(yaml.safe_dump(settings))
    # as launch starts a node: its name and namespace are remapped for the whole process
    names = ("-r", "__node:=engine_node", "-r", "__ns:=/fleet")
    process = start("svlm_ros.engine_node", *names, "--params-file", str(parameters))
    cameras = {name: ear.node.create_publisher(Image, topic, 10) for name, topic in topics.items()}
    heard = {name: ear.subscribe(String, f"/fleet/{name}/commentary") for name in topics}
    diagnostics = ear.subscribe(DiagnosticArray, "/diagnostics")
    for camera in cameras.values():
        assert ear.spin_until(
            lambda camera=camera: camera.get_subscription_count() or process.poll(), START_LIMIT_S
        )
        assert process.poll() is None, process.communicate()[0]
    for half in range(8):
        for name, camera in cameras.items():
            stamp_ns = EPOCH_S * NS_PER_S + half * NS_PER_S // 2
            camera.publish(image_from_rgb(np.zeros((56, 56, 3), np.uint8), stamp_ns, f"{name}_lens"))
        wanted = {"front": (half + 1) // 2, "rear": (half + 1) // 4}
        assert ear.spin_until(
            lambda wanted=wanted: all(len(heard[name]) >= number for name, number in wanted.items()), 60.0
        )
    events = {name: [CommentaryEvent.from_json(line.data) for line in lines] for name, lines in heard.items()}
    assert [event.frames_used for event in events["front"]] == [2] * 4
    assert [event.frames_used for event in events["rear"]] == [4] * 2
    for name, topic in topics.items():
        assert {(event.camera, event.frame_id) for event in events[name]} == {(topic, f"{name}_lens")}
        assert [event.seq for event in events[name]] == list(range(len(events[name])))
    assert ear.spin_until(
        lambda: (
            {status.name.split(":")[0] for array in diagnostics for status in array.status}
            == {"/fleet/front/stream_node", "/fleet/rear/stream_node"}
        ),
        10.0,
    )
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert "is ignored" not in output  # no parameter of one node is a stranger to another
    assert sum("ready after" in line for line in output.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "cameras is empty"),
        (("-p", "cameras:=[front, front]"), "names front twice"),
        (("-p", "cameras:=[front]", "-p", "modle:=tiny"), "did you mean 'model'"),
        (("-p", "cameras:=[front]", "-p", "model:=/no/such/folder"), "/no/such/folder"),
    ],
)
def test_a_wrong_parameter_is_one_error_line_and_exit_1(
    start: Any, arguments: tuple[str, ...], words: str
) -> None:
    process = start("svlm_ros.engine_node", *arguments)
    output, _ = process.communicate(timeout=START_LIMIT_S)
    assert process.returncode == 1, output
    (line,) = [line for line in output.splitlines() if "FATAL" in line]
    assert words in line and "Traceback" not in output, output


def test_cameras_are_checked() -> None:
    check_cameras(("front", "rear"))
    with pytest.raises(ConfigError, match="empty"):
        check_cameras(())
    with pytest.raises(ConfigError, match="rear twice"):
        check_cameras(("rear", "front", "rear"))


def test_only_remappings_of_a_nodes_own_name_are_left_out() -> None:
    given = [
        "x",
        "--ros-args",
        "-r",
        "__ns:=/a",
        "--remap",
        "image:=/b",
        "-r",
        "__node:=c",
        "-p",
        "d:=1",
        "--",
        "y",
    ]
    assert without_node_names(given) == ["--ros-args", "--remap", "image:=/b", "-p", "d:=1"]
    assert without_node_names([]) == ["--ros-args"]
