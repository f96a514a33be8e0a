"""`python -m svlm_ros.engine_node --ros-args -p "cameras:=[front, rear]"`: one model for many cameras."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from svlm_ros.lifetime import End, run_nodes

if TYPE_CHECKING:
    from rclpy.node import Node


def main(args: Sequence[str] | None = None) -> int:
    """Run the engine node and its stream nodes until a signal comes; returns the exit code."""
    given = sys.argv[1:] if args is None else list(args)

    def make_nodes(end: End) -> Sequence[Node]:
        from svlm_ros.engine import make_engine_nodes

        return make_engine_nodes(end, given)

    return run_nodes(make_nodes, "engine_node", args)


if __name__ == "__main__":
    sys.exit(main())
