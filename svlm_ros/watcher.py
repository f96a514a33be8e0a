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

"""A node that lines commentary up with the images it is about, second by second."""

from __future__ import annotations

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Frame, NS_PER_S
from svlm_ros.conversions import ns_from_stamp, rgb_from_image
from svlm_ros.image_qos import image_qos


class Watcher(Node):
    """Keeps frames and events by second since the first image.

    Attributes:
        frames: second -> its frames, oldest first.
        events: second of the oldest frame they are about -> events.
        images: images received.
    """

    def __init__(self, image: str, commentary: str, context: Context) -> None:
        """Subscribe.

        Args:
            image: topic of sensor_msgs/Image.
            commentary: topic of std_msgs/String that holds events as JSON.
            context: an initialised context.
        """
        super().__init__("watcher", context=context)
        self.frames: dict[int, list[Frame]] = {}
        self.events: dict[int, list[CommentaryEvent]] = {}
        self.images = 0
        self._first_ns: int | None = None
        self.create_subscription(Image, image, self._on_image, image_qos(ReliabilityPolicy.RELIABLE))
        self.create_subscription(String, commentary, self._on_event, 10)

    @property
    def newest_second(self) -> int:
        """Second of the newest image; -1 before the first."""
        return max(self.frames, default=-1)

    @property
    def heard_second(self) -> int:
        """The latest second that something was said about; -1 before that."""
        return max(self.events, default=-1)

    def _on_image(self, msg: Image) -> None:
        frame = Frame(ns_from_stamp(msg.header.stamp), rgb_from_image(msg))
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        self.images += 1
        self.frames.setdefault(self._second(frame.stamp_ns), []).append(frame)

    def _on_event(self, msg: String) -> None:
        event = CommentaryEvent.from_json(msg.data)
        if self._first_ns is not None:
            self.events.setdefault(self._second(event.stamp_oldest_ns), []).append(event)

    def _second(self, stamp_ns: int) -> int:
        assert self._first_ns is not None
        return (stamp_ns - self._first_ns) // NS_PER_S
