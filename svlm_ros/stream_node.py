"""`python -m svlm_ros.stream_node --ros-args -p image:=/camera/image_raw -p model:=tiny`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from svlm_ros.lifetime import End, run_node

if TYPE_CHECKING:
    from rclpy.node import Node


def main(args: Sequence[str] | None = None) -> int:
    """Run the stream node until a signal comes; returns the exit code."""
    return run_node(_make_node, "stream_node", args)


def _make_node(end: End) -> Node:
    from svlm_ros.stream import StreamNode
    from svlm_ros.supply import OwnModel

    node = StreamNode(end, OwnModel())
    node.start()
    return node


if __name__ == "__main__":
    sys.exit(main())
