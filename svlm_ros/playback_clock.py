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

"""The time of a recording that is being played, on /clock, for nodes that run with use_sim_time."""

from __future__ import annotations

import threading

from rclpy.clock import Clock as RosClock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from svlm_core.sources.paced import Paced
from svlm_ros.conversions import stamp_from_ns

_TICK_S = 0.025  # as `ros2 bag play --clock`


class PlaybackClock:
    """Publishes /clock: between two images in ticks, and at each image before the image itself.

    So no image is ever newer than the clock of whoever receives it. Time only goes forward, except where
    `follow` begins anew.
    """

    def __init__(self, node: Node) -> None:
        """Publish nothing yet; the ticks run on the node's executor."""
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)  # also matches best effort
        self._publisher = node.create_publisher(Clock, "/clock", qos)
        self._lock = threading.Lock()
        self._player: Paced | None = None
        self._shift_ns = 0
        self._newest_ns: int | None = None
        node.create_timer(_TICK_S, self._tick, clock=RosClock(clock_type=ClockType.STEADY_TIME))

    def follow(self, player: Paced, shift_ns: int) -> None:
        """Tick with this player from now on; its time may be earlier than what /clock said last.

        Args:
            player: just begun.
            shift_ns: what /clock is ahead of the stamps of the player's frames.
        """
        with self._lock:
            self._player, self._shift_ns = player, shift_ns
            self._newest_ns = None

    def hold(self) -> None:
        """Stand still: the recording has ended."""
        with self._lock:
            self._player = None

    def reach(self, stamp_ns: int) -> None:
        """An image with this stamp is about to be published."""
        with self._lock:
            self._publish(stamp_ns)

    def _tick(self) -> None:
        with self._lock:
            position_ns = None if self._player is None else self._player.position_ns()
            if position_ns is not None:
                self._publish(position_ns + self._shift_ns)
            elif self._newest_ns is not None:
                self._publish(self._newest_ns)  # for those who join late

    def _publish(self, now_ns: int) -> None:
        self._newest_ns = now_ns if self._newest_ns is None else max(self._newest_ns, now_ns)
        self._publisher.publish(Clock(clock=stamp_from_ns(self._newest_ns)))
