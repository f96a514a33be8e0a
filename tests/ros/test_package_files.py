"""The files that ROS reads: package.xml, the launch file, parameters, the event schema, Fast DDS settings."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from svlm_core.config import StreamConfig
from svlm_core.events import CommentaryEvent
from svlm_ros.parameters import ModelParameters, StreamNodeParameters

REPOSITORY = Path(__file__).parents[2]
LAUNCH_FILE = REPOSITORY / "launch" / "stream.launch.py"
STREAM_PARAMETERS = {
    setting.name: setting for owner in (ModelParameters, StreamNodeParameters) for setting in fields(owner)
}


def declared_arguments() -> dict[str, str]:
    """Launch argument -> description, read from the source: the launch package is not on PyPI."""
    calls = [node for node in ast.walk(ast.parse(LAUNCH_FILE.read_text())) if isinstance(node, ast.Call)]
    declared = {}
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument":
            assert isinstance(call.args[0], ast.Constant)
            texts = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
            declared[str(call.args[0].value)] = str(texts.get("description", ""))
    return declared


def test_the_launch_file_compiles_and_describes_every_argument() -> None:
    compile(LAUNCH_FILE.read_text(), str(LAUNCH_FILE), "exec")
    declared = declared_arguments()
    assert set(declared) == {
        "model", "device", "image", "image_transport", "camera",
        "namespace", "params_file", "source", "log_level",
    }  # fmt: skip
    assert all(declared.values()), declared


def test_every_launch_argument_that_becomes_a_parameter_is_one() -> None:
    (names,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(LAUNCH_FILE.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STREAM_PARAMETERS"
    ]
    assert set(names) <= set(STREAM_PARAMETERS)
    assert set(names) <= set(declared_arguments())


def test_launch_commands_in_the_documentation_use_declared_arguments() -> None:
    pages = [LAUNCH_FILE, REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    commands = [
        line
        for page in pages
        if page.exists()
        for line in page.read_text(encoding="utf-8").splitlines()
        if "stream.launch.py" in line
    ]
    assert commands
    for command in commands:
        assert set(re.findall(r"(\w+):=", command)) <= set(declared_arguments()), command


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
