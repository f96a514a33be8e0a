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

"""A recording played again as if it happened now, and commentary on it, on the recording's own time.

    ros2 launch svlm_ros replay.launch.py source:=run7_bag?topic=/front/image_raw
    ros2 launch svlm_ros replay.launch.py source:=clip.mp4 rate:=0.5
    ros2 launch svlm_ros replay.launch.py source:=world://1000007?seconds=60 loop:=true

camera_node publishes the pictures and /clock; the stream node runs with use_sim_time. Everything ends
a moment after the recording has. `ros2 launch svlm_ros replay.launch.py --show-args` lists the arguments.
"""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    Shutdown,
    TimerAction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, SetParameter
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

LAST_WORDS_S = 3.0  # from the end of the recording to the end of the launch


def generate_launch_description() -> LaunchDescription:
    """The arguments, the player, and the commentary."""
    share = FindPackageShare("svlm_ros")
    passed_on = ("image", "model", "params_file", "log_level")
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "source",
                description="bag (with ?topic=/front/image_raw), video file, image folder or world://SEED",
            ),
            DeclareLaunchArgument("rate", default_value="1.0", description="speed; 2.0 plays twice as fast"),
            DeclareLaunchArgument(
                "loop",
                default_value="false",
                choices=["true", "false"],
                description="begin again at the end; time then jumps back",
            ),
            DeclareLaunchArgument(
                "camera", default_value="svlm", description="namespace of the camera and its stream node"
            ),
            DeclareLaunchArgument(
                "image",
                default_value="image_raw",
                description="image topic; relative to the namespace unless it begins with /",
            ),
            DeclareLaunchArgument(
                "model",
                default_value="",
                description="tiny (built in), a local folder, a hub id, or tcp://HOST:PORT of the machine "
                "that runs svlm serve; empty: the params_file's",
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([share, "config", "stream.yaml"]),
                description="parameters of the stream node, YAML; the arguments win over it",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="of all nodes",
            ),
            GroupAction(
                [
                    SetParameter("use_sim_time", True),
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(
                            PathJoinSubstitution([share, "launch", "stream.launch.py"])
                        ),
                        launch_arguments=[
                            *((name, LaunchConfiguration(name)) for name in passed_on),
                            ("cameras", LaunchConfiguration("camera")),
                            ("source", ""),  # is played below, with a clock
                            ("engine", "false"),
                            ("respawn", "false"),
                        ],
                    ),
                ]
            ),
            Node(
                package="svlm_ros",
                executable="camera_node",
                name="camera_node",
                namespace=LaunchConfiguration("camera"),
                parameters=[
                    {
                        "source": ParameterValue(LaunchConfiguration("source"), value_type=str),
                        "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                        "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                        "publish_clock": True,
                        "wait_for_subscribers": 1,
                    }
                ],
                remappings=[
                    ("image_raw", LaunchConfiguration("image")),
                    ("image_raw/compressed", [LaunchConfiguration("image"), "/compressed"]),
                ],
                ros_arguments=["--log-level", LaunchConfiguration("log_level")],
                output="screen",
                on_exit=[
                    TimerAction(period=LAST_WORDS_S, actions=[Shutdown(reason="the recording has ended")])
                ],
            ),
        ]
    )
