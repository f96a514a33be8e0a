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

"""`python -m svlm_ros.engine_node --ros-args -p "cameras:=[front, rear]"`: one model for many cameras."""

from __future__ import annotations

from collections.abc import Sequence
import sys
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
