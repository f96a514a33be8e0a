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

"""`python -m svlm_ros.camera_node --ros-args -p source:=clip.mp4`."""

from __future__ import annotations

from collections.abc import Sequence
import sys
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
