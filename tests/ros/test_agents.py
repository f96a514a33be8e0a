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

"""The programs of docs/agents.md and the Foxglove layout, against real nodes."""

from __future__ import annotations

import json
from pathlib import Path
import re
import runpy
import signal
import subprocess
import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import pytest
from std_msgs.msg import String

REPOSITORY = Path(__file__).parents[2]
START_LIMIT_S = 240.0  # torch's import on a busy machine
DIAGNOSTIC = re.compile(r'/diagnostics\.status\[:\]{name=="(.+?)"}\.values\[:\]{key=="(.+?)"}\.value')


@pytest.fixture
def events(start: Any, ear: Any) -> list[Any]:
    """What is heard of a camera that films the world for ever, and of its stream node, both in /svlm."""
    heard: list[Any] = ear.subscribe(String, "/svlm/commentary")
    inside = ("-r", "__ns:=/svlm")
    start("svlm_ros.stream_node", *inside, image="image_raw")
    start("svlm_ros.camera_node", *inside, source="world://1000007", wait_for_subscribers=1)
    assert ear.spin_until(lambda: len(heard) > 0, START_LIMIT_S)
    return heard


def program(name: str, folder: Path) -> Path:
    """One of the page's programs, as a file."""
    page = (REPOSITORY / "docs" / "agents.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, flags=re.DOTALL))
    path = folder / name
    path.write_text(found[name], encoding="utf-8")
    return path


def run(path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(path), *arguments], stdout=subprocess.PIPE, text=True)


def rosbridge_form(topic: str, message: Any) -> str:
    """A message as rosbridge sends it to those who subscribed."""
    fields = {name: getattr(message, name) for name in message.get_fields_and_field_types()}
    return json.dumps({"op": "publish", "topic": topic, "msg": fields})


def test_the_programs_of_the_page_listen_ask_and_read_what_a_bridge_sends(
    events: list[Any], ear: Any, tmp_path: Path
) -> None:
    listener = run(program("listen.py", tmp_path))
    assert listener.stdout is not None
    said = listener.stdout.readline()  # the world goes on meanwhile
    listener.send_signal(signal.SIGINT)
    listener.communicate(timeout=30)
    assert listener.returncode == 0
    assert re.fullmatch(r"\d\.\d s ago: \w.*\n", said)

    asker = run(program("ask.py", tmp_path), "Who", "is", "there?")
    answer: list[dict[str, Any]] = []

    def answered() -> bool:
        answer[:] = [event for event in map(read, events) if event["kind"] == "answer"]
        return bool(answer) and asker.poll() is not None

    assert ear.spin_until(answered, 60.0)
    assert asker.returncode == 0
    assert asker.communicate()[0] == answer[0]["text"] + "\n"
    assert re.fullmatch("[0-9a-f]{32}", answer[0]["query_id"])

    bridge = runpy.run_path(str(program("bridge.py", tmp_path)))
    assert [bridge["event_of"](rosbridge_form("/svlm/commentary", event)) for event in events] == [
        read(event) for event in events
    ]
    assert bridge["event_of"]('{"op": "status", "level": "error", "msg": "no such topic"}') is None
    assert [json.loads(line)["op"] for line in bridge["opening"]()] == ["subscribe", "advertise"]
    question = json.loads(bridge["question"]("7", "What is there?"))
    asked = ear.node.create_publisher(String, question["topic"], 10)
    assert ear.spin_until(asked.get_subscription_count, 10.0)
    asked.publish(String(**question["msg"]))
    assert ear.spin_until(lambda: any(read(event)["query_id"] == "7" for event in events), 60.0)


def test_what_the_foxglove_layout_shows_is_there(events: list[Any], ear: Any) -> None:
    layout = json.loads((REPOSITORY / "config" / "foxglove.json").read_text(encoding="utf-8"))
    panels = layout["configById"]
    assert set(leaves(layout["layout"])) == set(panels)

    reports = ear.subscribe(DiagnosticArray, "/diagnostics")

    def value(status: str, key: str) -> str:
        pairs = [(each.name, pair.key, pair.value) for each in reports[-1].status for pair in each.values]
        return {(name, key): text for name, key, text in pairs}.get((status, key), "")

    shown = [
        DIAGNOSTIC.fullmatch(path["value"]) for panel in panels.values() for path in panel.get("paths", [])
    ]
    assert len(shown) == 4 and all(shown)
    keys = [match.groups() for match in shown if match]
    assert ear.spin_until(lambda: bool(reports) and all(value(*key) for key in keys), 30.0), reports[-1:]
    assert all(float(value(*key)) >= 0 for key in keys)  # Foxglove plots a text that is a number

    there = dict(ear.node.get_topic_names_and_types())
    image = panels["Image!pictures"]["imageMode"]["imageTopic"]
    texts = [panels[f"RawMessages!{name}"]["topicPath"].removesuffix(".data") for name in ("words", "event")]
    assert there[image] == ["sensor_msgs/msg/CompressedImage"]
    assert [there[topic] for topic in texts] == [["std_msgs/msg/String"]] * 2
    assert panels["DiagnosticSummary!health"]["topicToRender"] in there


def read(message: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(message.data)
    return event


def leaves(node: Any) -> list[str]:
    """The panels of a layout's tree."""
    return [node] if isinstance(node, str) else [*leaves(node["first"]), *leaves(node["second"])]
