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

"""ROS parameters declared from the fields of a dataclass, so that a setting is described in one place only.

A field's metadata may hold `help`, `minimum`, `maximum` and `choices` (svlm_core.config.StreamConfig does).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, Field, field, fields
import difflib
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from svlm_core.config import DTYPES, StreamConfig
from svlm_core.errors import ConfigError

_TYPES = {
    str: Parameter.Type.STRING,
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    tuple: Parameter.Type.STRING_ARRAY,
}
_OF_ROS = ("use_sim_time", "start_type_description_service")  # declared by rclpy itself
_OF_ROS_PREFIX = "qos_overrides."
LOCAL, ZMQ = "local", "zmq"  # backends


def _setting(default: Any, text: str, **rules: Any) -> Any:
    return field(default=default, metadata={"help": text, **rules})


@dataclass(frozen=True)
class ModelParameters:
    """Which model, and where it runs: in this process, or on a workstation behind an endpoint."""

    model: str = _setting("tiny", "the checkpoint: tiny (built in), a local folder, or a hub id")
    device: str = _setting("cpu", "where the model runs: cpu, cuda, cuda:1")
    dtype: str = _setting("float32", "number format of the model's weights", choices=DTYPES)
    backend: str = _setting(
        LOCAL,
        "local: the model runs in this process; zmq: on the machine whose `svlm serve` is at endpoint, and "
        "model, device and dtype are that server's own",
        choices=(LOCAL, ZMQ),
    )
    endpoint: str = _setting("", "backend zmq: address of the server, tcp://HOST:PORT")
    key_file: str = _setting(
        "", "backend zmq: this robot's key, as `svlm keys new` wrote it; needed unless the server is here"
    )
    server_key: str = _setting("", "backend zmq: the server's public key, or its file server.pub")
    unencrypted: bool = _setting(
        False, "backend zmq: reach a server on another machine without keys; anyone on the way can look on"
    )
    jpeg_quality: int = _setting(
        85,
        "backend zmq: quality of the pictures on the way; 0 sends PNG, which loses nothing",
        minimum=0,
        maximum=100,
    )

    @property
    def remote(self) -> bool:
        """Whether the model runs elsewhere."""
        return self.backend == ZMQ


@dataclass(frozen=True)
class StreamNodeParameters:
    """What a stream node takes besides its model and the fields of StreamConfig."""

    autostart: bool = _setting(
        True, "configure and activate by itself; false leaves that to a lifecycle manager"
    )
    enabled: bool = _setting(
        True, "look and speak; false drops the images, the model stays loaded and remembers", live=True
    )
    image: str = _setting("/camera/image_raw", "image topic, without the /compressed of its transport")
    image_transport: str = _setting(
        "raw",
        "raw: sensor_msgs/Image on the topic; compressed: sensor_msgs/CompressedImage on <image>/compressed",
        choices=("raw", "compressed"),
    )
    camera: str = _setting("", "name of the camera in the events; the image topic when empty")
    annotate: bool = _setting(
        False, "publish image_annotated: each chunk's newest picture with the words under it"
    )
    partial: bool = _setting(
        False, "publish commentary/partial: the words of a chunk while they are found, all of them each time"
    )
    describe_prompt: str = _setting(
        "Describe what you see.", "the question that the service ~/describe asks", live=True
    )
    describe_timeout_s: float = _setting(
        10.0, "how long ~/describe waits for the answer, seconds", minimum=0.1, maximum=600.0, live=True
    )


@dataclass(frozen=True)
class EngineNodeParameters:
    """What the engine node takes besides the model."""

    cameras: tuple[str, ...] = _setting(
        (), "one stream node for each of these namespaces, for example [front, rear]"
    )


@dataclass(frozen=True)
class CameraNodeParameters:
    """What the camera node takes."""

    source: str = _setting(
        "world://1000007",
        "video file, image folder, bag, camera (0 or /dev/video0), rtsp:// or http:// address, or "
        "world://SEED (?seconds=60 limits it)",
    )
    rate: float = _setting(
        1.0, "speed of a recorded source: 2.0 plays it twice as fast", minimum=0.01, maximum=100.0
    )
    folder_fps: float = _setting(
        2.0, "pictures per second of an image folder, at rate 1.0", minimum=0.01, maximum=1000.0
    )
    publish_clock: bool = _setting(
        False,
        "recorded sources: publish the recording's own time on /clock, for nodes with use_sim_time, and "
        "stamp the images with it; it jumps back where a looped source begins again",
    )
    frame_id: str = _setting(
        "", "coordinate frame written into every image header; empty: the recording's own, else camera"
    )
    loop: bool = _setting(False, "begin again when the source ends")
    transport: str = _setting(
        "both",
        "what to publish: raw (image_raw), compressed (image_raw/compressed), or both",
        choices=("both", "raw", "compressed"),
    )
    jpeg_quality: int = _setting(85, "quality of the compressed images", minimum=1, maximum=100)
    wait_for_subscribers: int = _setting(
        0, "hold the first frame back until this many subscriptions are matched", minimum=0, maximum=100
    )


class GivenParameters:
    """The parameters that the user set, on the command line or in a file, apart from everyone's defaults.

    Needs a node made with `automatically_declare_parameters_from_overrides=True`: that is how rclpy tells
    which parameters were given, misspelt ones included.
    """

    def __init__(self, node: Node) -> None:
        """Collect what was given; nothing is declared yet."""
        self._node = node
        self._given: dict[str, Any] = {}
        self._known: list[str] = list(_OF_ROS)
        for name, parameter in node.get_parameters_by_prefix("").items():
            if name not in _OF_ROS and not name.startswith(_OF_ROS_PREFIX):
                self._given[name] = parameter.value
                node.undeclare_parameter(name)  # declared again below, with its type, range and help

    def declare(
        self, settings: type, *, show_defaults: bool = True, read_only: bool = True
    ) -> dict[str, Any]:
        """Declare one parameter for every field of a dataclass.

        Args:
            settings: the dataclass.
            show_defaults: False leaves parameters unset that the user did not set, because their default
                is not known before the checkpoint is loaded.
            read_only: whether the parameters never change.

        Returns:
            The values the user set, by field name.

        Raises:
            ParameterException, ConfigError: a value of the wrong type, out of range, or not a choice.
        """
        chosen: dict[str, Any] = {}
        for setting in fields(settings):
            self._known.append(setting.name)
            value = self._given.get(setting.name)
            if value is not None:
                chosen[setting.name] = value = parameter_value(setting, value)
            elif show_defaults:
                value = setting.default
            self._node.declare_parameter(
                setting.name,
                _TYPES[type(setting.default)] if value is None or value == () else value,
                _descriptor(setting, read_only),
                ignore_override=True,
            )
        return chosen

    def leave(self, settings: type) -> None:
        """Take no notice of the fields of a dataclass: another node of the process has these parameters."""
        self._known += [setting.name for setting in fields(settings)]

    def refuse_misspelt(self) -> None:
        """Refuse a given parameter whose name nearly is a declared one; only warn about any other.

        A parameter file may hold settings of other nodes under `/**`, so not every stranger is a mistake.

        Raises:
            ConfigError: names the parameter and the one it resembles.
        """
        for name in self._unknown():
            near = difflib.get_close_matches(name, self._known, n=1, cutoff=0.75)
            if near:
                raise ConfigError(f"unknown parameter {name!r}; did you mean {near[0]!r}?")
            self._node.get_logger().warning(f"unknown parameter {name!r} is ignored")

    def _unknown(self) -> Iterable[str]:
        return (name for name in self._given if name not in self._known)


def parameter_value(setting: Field[Any], value: Any) -> Any:
    """A parameter's value as its field of a dataclass takes it.

    Raises:
        ConfigError: it is of the wrong type, or not one of the choices. (rclpy itself checks ranges.)
    """
    kind = type(setting.default)
    if kind is float and type(value) is int:
        value = float(value)  # YAML reads `1` as an integer
    elif kind is str and type(value) is int:
        value = str(value)  # and a camera index too
    elif kind is tuple and isinstance(value, list):
        value = tuple(value)
    choices = setting.metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"parameter {setting.name} must be one of {', '.join(choices)}; got {value!r}")
    if type(value) is not kind:
        raise ConfigError(f"parameter {setting.name} must be a {kind.__name__}, got {value!r}")
    return value


def declare_engine(node: Node) -> tuple[ModelParameters, EngineNodeParameters]:
    """Declare the engine node's parameters; those of its stream nodes are theirs."""
    given = GivenParameters(node)
    model = ModelParameters(**given.declare(ModelParameters))
    settings = EngineNodeParameters(**given.declare(EngineNodeParameters))
    given.leave(StreamNodeParameters)
    given.leave(StreamConfig)
    given.refuse_misspelt()
    return model, settings


def declare_camera(node: Node) -> CameraNodeParameters:
    """Declare the camera node's parameters."""
    given = GivenParameters(node)
    parameters = CameraNodeParameters(**given.declare(CameraNodeParameters))
    given.refuse_misspelt()
    return parameters


def _descriptor(setting: Field[Any], read_only: bool) -> ParameterDescriptor:
    rules = setting.metadata
    descriptor = ParameterDescriptor(description=rules["help"], read_only=read_only)
    if "choices" in rules:
        descriptor.additional_constraints = f"one of: {', '.join(rules['choices'])}"
    if isinstance(setting.default, float):
        limits = FloatingPointRange(from_value=float(rules["minimum"]), to_value=float(rules["maximum"]))
        descriptor.floating_point_range = [limits]
    elif "minimum" in rules:
        descriptor.integer_range = [IntegerRange(from_value=rules["minimum"], to_value=rules["maximum"])]
    return descriptor
