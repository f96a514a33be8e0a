"""Commentary on a camera topic, and a camera to try it on.

    ros2 launch svlm_ros stream.launch.py image:=/front/image_raw image_transport:=compressed
    ros2 launch svlm_ros stream.launch.py source:=world://1000007
    ros2 launch svlm_ros stream.launch.py source:=clip.mp4 namespace:=/arena

`ros2 launch svlm_ros stream.launch.py --show-args` lists the arguments. One that stays empty leaves the
matter to the parameter file.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

# arguments that become parameters of the same name of the stream node
STREAM_PARAMETERS = ("model", "device", "image", "image_transport", "camera")


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the nodes they ask for."""
    params_file = PathJoinSubstitution([FindPackageShare("svlm_ros"), "config", "stream.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "model", default_value="", description="tiny (built in), a local folder, or a hub id"
            ),
            DeclareLaunchArgument(
                "device", default_value="", description="where the model runs: cpu, cuda, cuda:1"
            ),
            DeclareLaunchArgument("image", default_value="", description="image topic (the base topic)"),
            DeclareLaunchArgument(
                "image_transport",
                default_value="",
                choices=["", "raw", "compressed"],
                description="raw, or compressed to subscribe to <image>/compressed",
            ),
            DeclareLaunchArgument("camera", default_value="", description="name of the camera in the events"),
            DeclareLaunchArgument(
                "namespace", default_value="/svlm", description="of the stream node, one per camera"
            ),
            DeclareLaunchArgument(
                "params_file", default_value=params_file, description="parameters of the stream node, YAML"
            ),
            DeclareLaunchArgument(
                "source",
                default_value="",
                description="also start camera_node on this: video file, image folder, camera index, "
                "rtsp://HOST/PATH or world://SEED",
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
    logging = ["--log-level", LaunchConfiguration("log_level")]
    given = [name for name in STREAM_PARAMETERS if context.perform_substitution(LaunchConfiguration(name))]
    nodes: list[LaunchDescriptionEntity] = [
        Node(
            package="svlm_ros",
            executable="stream_node",
            name="stream_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), {name: _text(name) for name in given}],
            ros_arguments=logging,
            output="screen",
        )
    ]
    if context.perform_substitution(LaunchConfiguration("source")):
        nodes.append(
            Node(
                package="svlm_ros",
                executable="camera_node",
                name="camera_node",
                namespace="/camera",
                parameters=[{"source": _text("source"), "wait_for_subscribers": 1}],
                ros_arguments=logging,
                output="screen",
            )
        )
    return nodes


def _text(name: str) -> ParameterValue:
    """The argument as a string even where it reads like a number, as a camera index does."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)
