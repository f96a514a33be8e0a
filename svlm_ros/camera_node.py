"""`python -m svlm_ros.camera_node --ros-args -p source:=clip.mp4`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from svlm_ros.lifetime import End, run_node

if TYPE_CHECKING:
    from rclpy.node import Node


def main(args: Sequence[str] | None = None) -> int:
    """Run the camera node until its source ends or a signal comes; returns the exit code."""
    return run_node(_make_node, "camera_node", args)


def _make_node(end: End) -> Node:
    from svlm_ros.camera import CameraNode

    return CameraNode(end)


if __name__ == "__main__":
    sys.exit(main())
