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

"""Commentary on one camera or many, and something to look at where there is no camera yet.

    ros2 launch svlm_ros stream.launch.py image:=/front/image_raw
    ros2 launch svlm_ros stream.launch.py cameras:=front,rear image:=image_raw/compressed engine:=true
    ros2 launch svlm_ros stream.launch.py model:=tcp://workstation:5577 params_file:=robot.yaml
    ros2 launch svlm_ros stream.launch.py source:=0
    ros2 launch svlm_ros stream.launch.py source:=front.mp4,rear.mp4 cameras:=front,rear

Every camera is a namespace: its stream node and its topics live there, and below the namespace that another
launch file pushes. What is not an argument here is a parameter: `params_file` takes your own file.
`ros2 launch svlm_ros stream.launch.py --show-args` lists the arguments.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ADDRESS = "://"  # a model that is reached over a link is named by its endpoint
COMPRESSED = "/compressed"  # the topic that image_transport adds to a base topic
RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the nodes they ask for."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras",
                default_value="svlm",
                description="namespaces, one for each camera, with commas between them",
            ),
            DeclareLaunchArgument(
                "image",
                default_value="",
                description="image topic; relative to each camera's namespace unless it begins with /; may "
                "end in /compressed; empty: the params_file's for one camera, image_raw for several",
            ),
            DeclareLaunchArgument(
                "source",
                default_value="",
                description="also start a camera_node for each camera, on this: video file, image folder, "
                "bag, camera (0 or /dev/video0), rtsp://HOST/PATH or world://SEED; with commas for several",
            ),
            DeclareLaunchArgument(
                "engine",
                default_value="false",
                choices=["true", "false"],
                description="one process with one model for all cameras, instead of one for each",
            ),
            DeclareLaunchArgument(
                "model",
                default_value="",
                description="tiny (built in), a local folder, a hub id, or tcp://HOST:PORT of the machine "
                "that runs svlm serve; empty: the params_file's",
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([FindPackageShare("svlm_ros"), "config", "stream.yaml"]),
                description="parameters of the stream nodes, YAML; the arguments above win over it",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="false",
                choices=["true", "false"],
                description="start a stream node that ended again",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="of all nodes",
            ),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return str(context.perform_substitution(LaunchConfiguration(name)))

    cameras = _names(argument("cameras"), "cameras")
    source, image = argument("source"), argument("image")
    sources = [source] if len(cameras) == 1 else source.split(",")
    if source and len(sources) != len(cameras):
        raise RuntimeError(f"cameras names {len(cameras)}, but source names {len(sources)}: {source}")
    if not image and (source or len(cameras) > 1):
        image = "image_raw"
    parameters = {}
    if ADDRESS in argument("model"):
        parameters["backend"] = "zmq"
        parameters["endpoint"] = _text(argument("model"))
    elif argument("model"):
        parameters["backend"] = "local"
        parameters["model"] = _text(argument("model"))
    if image:
        parameters["image"] = _text(image.removesuffix(COMPRESSED))
        parameters["image_transport"] = "compressed" if image.endswith(COMPRESSED) else "raw"
    if argument("engine") == "true":
        nodes = [_engine_node(cameras, parameters)]
    else:
        nodes = [_stream_node(camera, parameters) for camera in cameras]
    if source:
        nodes += [_camera_node(*pair, image) for pair in zip(cameras, sources, strict=True)]
    return nodes


def _stream_node(camera: str, parameters: dict) -> Node:
    return Node(
        package="svlm_ros",
        executable="stream_node",
        name="stream_node",
        namespace=camera,
        parameters=[LaunchConfiguration("params_file"), parameters],
        **_common(),
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
    )


def _engine_node(cameras: list[str], parameters: dict) -> Node:
    """Without a name of its own, so that the parameters are for all nodes of the process."""
    return Node(
        package="svlm_ros",
        executable="engine_node",
        parameters=[
            LaunchConfiguration("params_file"),
            {**parameters, "cameras": ParameterValue(cameras, value_type=list[str])},
        ],
        **_common(),
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
    )


def _camera_node(camera: str, source: str, image: str) -> Node:
    """Publishes where the stream node listens. It is not respawned: it reconnects, and recordings end."""
    base = image.removesuffix(COMPRESSED)
    return Node(
        package="svlm_ros",
        executable="camera_node",
        name="camera_node",
        namespace=camera,
        parameters=[{"source": _text(source), "frame_id": _text(camera), "wait_for_subscribers": 1}],
        remappings=[("image_raw", base), (f"image_raw{COMPRESSED}", f"{base}{COMPRESSED}")],
        **_common(),
    )


def _common() -> dict:
    return {"ros_arguments": ["--log-level", LaunchConfiguration("log_level")], "output": "screen"}


def _names(text: str, argument: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) != len(names):
        raise RuntimeError(f"{argument} must be different names with commas between them, got {text!r}")
    return names


def _text(value: str) -> ParameterValue:
    """A string also where it reads like a number, as a camera index does."""
    return ParameterValue(value, value_type=str)
