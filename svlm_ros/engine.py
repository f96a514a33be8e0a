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

"""The node that holds one model for many cameras, each a stream node in a namespace of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node
from svlm_core.errors import ConfigError
from svlm_ros.lifetime import End
from svlm_ros.parameters import declare_engine
from svlm_ros.stream import StreamNode
from svlm_ros.supply import SharedEngine

_ROS_ARGS, _ROS_ARGS_END = "--ros-args", "--"
_REMAP = ("-r", "--remap")
_OF_ONE_NODE = ("__ns:=", "__node:=", "__name:=")


class EngineNode(Node):
    """Takes the parameters that concern the process: which model, which cameras.

    Attributes:
        model: the checkpoint of all cameras.
        settings: the other parameters.
    """

    def __init__(self) -> None:
        """Declare the parameters.

        Raises:
            ParameterException, ConfigError: a parameter is wrong.
        """
        super().__init__("engine_node", automatically_declare_parameters_from_overrides=True)
        self.model, self.settings = declare_engine(self)
        check_cameras(self.settings.cameras)


def make_engine_nodes(end: End, args: Sequence[str]) -> list[Node]:
    """The engine node and one started stream node for each camera.

    Args:
        end: ends the process with an exit code.
        args: command line of the process.

    Raises:
        ParameterException, SvlmError: a parameter is wrong.
    """
    engine = EngineNode()
    nodes: list[Node] = [engine]
    supply = SharedEngine()
    for camera in engine.settings.cameras:
        node = StreamNode(
            end,
            supply,
            engine.model,
            namespace=_inside(engine.get_namespace(), camera),
            # the process's remappings of a node's own name and namespace are for the engine node alone
            use_global_arguments=False,
            cli_args=without_node_names(args),
        )
        node.start()
        nodes.append(node)
    return nodes


def _inside(namespace: str, camera: str) -> str:
    return camera if camera.startswith("/") else f"{namespace.rstrip('/')}/{camera}"


def check_cameras(cameras: Sequence[str]) -> None:
    """Make sure that there are cameras and that no two are the same.

    Raises:
        ConfigError: names the parameter.
    """
    if not cameras:
        raise ConfigError(
            'parameter cameras is empty; name a namespace for each: -p "cameras:=[front, rear]"'
        )
    twice = sorted({name for name in cameras if cameras.count(name) > 1})
    if twice:
        raise ConfigError(f"parameter cameras names {', '.join(twice)} twice")


def without_node_names(args: Sequence[str]) -> list[str]:
    """The ROS arguments without remappings that name one node (`__ns`, `__node`), as launch passes them.

    Args:
        args: a command line.

    Returns:
        Its `--ros-args`, for `cli_args` of a node.
    """
    kept: list[str] = []
    ros, rest = False, iter(args)
    for argument in rest:
        if argument in (_ROS_ARGS, _ROS_ARGS_END):
            ros = argument == _ROS_ARGS
        elif ros and argument in _REMAP:
            rule = next(rest, "")
            if not rule.startswith(_OF_ONE_NODE):
                kept += [argument, rule]
        elif ros:
            kept.append(argument)
    return [_ROS_ARGS, *kept]
