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

"""The model of a workstation, for robots elsewhere: `svlm serve` as a process of a launch.

    ros2 launch svlm_ros server.launch.py
    ros2 launch svlm_ros server.launch.py bind:='tcp://*:5577' keys:=$HOME/svlm-keys devices:=cuda:0,cuda:1

It is no ROS node and needs no ROS network: robots reach it at `bind`. `svlm serve --help` has the settings
that are no arguments here; a server that runs for ever is better a service, see docs/deploy.md.
`ros2 launch svlm_ros server.launch.py --show-args` lists the arguments.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

OPTIONS = {  # of svlm serve; an empty argument leaves the option away
    "bind": "--bind",
    "keys": "--keys",
    "model": "--model",
    "devices": "--devices",
    "max_sessions": "--max-sessions",
    "metrics": "--metrics",
    "log_level": "--log-level",
}
RESPAWN_DELAY_S = 2.0
DRAIN_S = 20.0  # svlm serve answers what is in work, and its workers end


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the server."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bind",
                default_value="tcp://127.0.0.1:5577",
                description="where robots connect to; tcp://*:5577 for all networks, which needs keys",
            ),
            DeclareLaunchArgument(
                "keys",
                default_value="",
                description="directory of the server's keys and of the robots that it allows, see svlm keys",
            ),
            DeclareLaunchArgument(
                "model", default_value="", description="tiny (built in), a local folder, or a hub id"
            ),
            DeclareLaunchArgument(
                "devices",
                default_value="",
                description="one worker on each: cpu, cuda:0 or cuda:0,cuda:1; empty: cpu",
            ),
            DeclareLaunchArgument(
                "max_sessions",
                default_value="",
                description="cameras that there is room for; empty: 8 for each device",
            ),
            DeclareLaunchArgument(
                "metrics",
                default_value="",
                description="HOST:PORT of /metrics, /live and /ready; empty: 127.0.0.1:9577 if it is free",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="start a server that ended again, as after a device broke",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warning", "error"],
                description="of the server",
            ),
            OpaqueFunction(function=_server),
        ]
    )


def _server(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    command = [ExecutableInPackage(package="svlm_ros", executable="svlm"), "serve"]
    for argument, option in OPTIONS.items():
        value = str(context.perform_substitution(LaunchConfiguration(argument)))
        if value:
            command.append(f"{option}={value}")
    return [
        ExecuteProcess(
            cmd=command,
            name="svlm_serve",
            output="screen",
            respawn=LaunchConfiguration("respawn"),
            respawn_delay=RESPAWN_DELAY_S,
            sigterm_timeout=str(DRAIN_S),
        )
    ]
