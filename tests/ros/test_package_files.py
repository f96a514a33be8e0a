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

"""The files that ROS reads: package.xml, launch files, parameters, the event schema, Fast DDS settings."""

from __future__ import annotations

import argparse
import ast
from dataclasses import fields
import json
from pathlib import Path
import re
from xml.etree import ElementTree

import jsonschema
import pytest
from svlm_core.cli import serve
from svlm_core.config import StreamConfig
from svlm_core.events import CommentaryEvent
from svlm_ros.parameters import CameraNodeParameters, ModelParameters, StreamNodeParameters
import yaml

REPOSITORY = Path(__file__).parents[2]
LAUNCH_FILES = sorted((REPOSITORY / "launch").glob("*.launch.py"))
STREAM_PARAMETERS = {
    setting.name: setting for owner in (ModelParameters, StreamNodeParameters) for setting in fields(owner)
}


def declared_arguments(file: Path) -> dict[str, str]:
    """Launch argument -> description, read from the source: the launch package is not on PyPI."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    declared = {}
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument":
            assert isinstance(call.args[0], ast.Constant)
            texts = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
            declared[str(call.args[0].value)] = str(texts.get("description", ""))
    return declared


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("stream", "cameras image source engine model params_file respawn log_level"),
        ("replay", "source rate loop camera image model params_file log_level"),
        ("server", "bind keys model devices max_sessions metrics respawn log_level"),
    ],
)
def test_a_launch_file_compiles_and_describes_every_argument(file: str, arguments: str) -> None:
    path = REPOSITORY / "launch" / f"{file}.launch.py"
    compile(path.read_text(), str(path), "exec")
    declared = declared_arguments(path)
    assert list(declared) == arguments.split()
    assert 6 <= len(declared) <= 8
    assert all(declared.values()), declared


def test_the_parameters_that_launch_files_set_are_parameters() -> None:
    """Keys of the dictionaries that are parameters, written at once or one by one."""
    known = {*STREAM_PARAMETERS, "cameras", *(setting.name for setting in fields(CameraNodeParameters))}
    found = set()
    for file in LAUNCH_FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "parameters":
                dictionaries = [part for part in ast.walk(node.value) if isinstance(part, ast.Dict)]
                found |= {
                    key.value for each in dictionaries for key in each.keys if isinstance(key, ast.Constant)
                }
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "parameters":
                assert isinstance(node.slice, ast.Constant)
                found.add(node.slice.value)
    assert {"image", "image_transport", "model", "source", "publish_clock", "cameras"} <= found <= known


def test_the_options_that_the_server_is_launched_with_are_options() -> None:
    tree = ast.parse((REPOSITORY / "launch" / "server.launch.py").read_text())
    (options,) = (
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPTIONS"
    )
    parser = argparse.ArgumentParser()
    serve.add_parser(parser.add_subparsers())
    for option in options.values():
        value = "debug" if option == "--log-level" else "1"
        parser.parse_args(["serve", f"{option}={value}"])


def test_launch_commands_in_the_documentation_use_declared_arguments() -> None:
    pages = [*LAUNCH_FILES, REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    commands = [
        (file, line)
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        for file in LAUNCH_FILES
        if f"ros2 launch svlm_ros {file.name}" in line
    ]
    assert {file for file, _ in commands} == set(LAUNCH_FILES)
    for file, command in commands:
        arguments = command.partition(file.name)[2].partition("#")[0]
        assert set(re.findall(r"(\w+):=", arguments)) <= set(declared_arguments(file)), command


def test_python_in_the_documentation_compiles() -> None:
    pages = sorted((REPOSITORY / "docs").glob("*.md"))
    blocks = {
        page.name: re.findall(r"(?s)```python\n(.*?)```", page.read_text(encoding="utf-8")) for page in pages
    }
    assert blocks["ros.md"] and blocks["agents.md"]
    for name, programs in blocks.items():
        for program in programs:
            compile(program, name, "exec")


def test_every_launch_and_configuration_file_is_installed() -> None:
    setup = ast.parse((REPOSITORY / "setup.py").read_text(encoding="utf-8"))
    named = {node.value for node in ast.walk(setup) if isinstance(node, ast.Constant)}
    for folder in ("launch", "config"):
        for file in (REPOSITORY / folder).iterdir():
            assert f"{folder}/{file.name}" in named


def test_the_parameter_file_names_every_parameter_with_its_default() -> None:
    text = (REPOSITORY / "config" / "stream.yaml").read_text(encoding="utf-8")
    active = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert active == {name: setting.default for name, setting in STREAM_PARAMETERS.items()}
    optional = yaml.safe_load(re.sub(r"(?m)^    # (?=\w+: )", "    ", text))["/**"]["ros__parameters"]
    settings = {name: value for name, value in optional.items() if name not in active}
    assert settings == {setting.name: setting.default for setting in fields(StreamConfig)}


def event(**changes: object) -> CommentaryEvent:
    values: dict[str, object] = {
        "text": "red stops",
        "kind": "commentary",
        "seq": 0,
        "camera": "/camera/image_raw",
        "frame_id": "lens",
        "chunk_index": 3,
        "stamp_oldest_ns": 1_700_000_000_000_000_000,
        "stamp_newest_ns": 1_700_000_000_500_000_000,
        "frames_used": 2,
        "frames_dropped": {"rate": 28},
        "latency_ms": 21.5,
    }
    return CommentaryEvent(**{**values, **changes})  # type: ignore[arg-type]


def schema() -> dict[str, object]:
    text = (REPOSITORY / "config" / "commentary_event.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


def test_an_event_as_it_is_published_fits_the_schema_and_begins_with_its_text() -> None:
    line = event().to_json()
    jsonschema.validate(json.loads(line), schema())
    assert line.startswith('{"text": "red stops"')


def test_the_schema_describes_exactly_the_fields_of_an_event() -> None:
    names = [setting.name for setting in fields(CommentaryEvent)]
    assert list(schema()["properties"]) == names == schema()["required"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "change", [{"kind": "rumour"}, {"seq": -1}, {"text": None}, {"frames_dropped": {"rate": 0.5}}]
)
def test_the_schema_refuses_what_is_not_an_event(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(event(**change).to_json()), schema())


def test_package_xml_declares_every_ros_package_that_is_imported() -> None:
    package = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("name") == "svlm_ros"
    declared = {element.text for element in package if element.tag in ("depend", "exec_depend")}
    sources = [*(REPOSITORY / "svlm_ros").glob("*.py"), *(REPOSITORY / "launch").glob("*.py")]
    ros = re.compile(r"(rclpy|launch(?:_ros)?|rcl_interfaces|builtin_interfaces|\w+_msgs)$")
    imported = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names if ros.match(name.split(".")[0])}
    assert {"rclpy", "sensor_msgs", "std_msgs"} <= imported <= declared


def test_the_resource_marker_and_the_fast_dds_settings_are_there() -> None:
    assert (REPOSITORY / "resource" / "svlm_ros").is_file()
    root = ElementTree.parse(REPOSITORY / "config" / "fastdds.xml").getroot()
    sizes = [int(element.text or 0) for element in root.iter() if element.tag.endswith("segment_size")]
    assert sizes == [64 * 1024 * 1024]
