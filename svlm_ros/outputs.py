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

"""The topics that a stream node speaks on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Chunk
from svlm_ros.annotate import Annotator
from svlm_ros.image_qos import PUBLISHER_DEPTH

_EVENT_DEPTH = 10
_LATEST = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """`commentary`, `commentary/text` and `commentary/latest`.

    If wanted, `commentary/partial` and `image_annotated`, too. All speak while the node is active.
    """

    def __init__(self, node: LifecycleNode, *, partial: bool, annotate: bool) -> None:
        """Make the publishers of `node`; `commentary/partial` and `image_annotated` if wanted."""
        self._node = node
        self._events = node.create_lifecycle_publisher(String, "commentary", _EVENT_DEPTH)
        self._words = node.create_lifecycle_publisher(String, "commentary/text", _EVENT_DEPTH)
        self._latest = node.create_lifecycle_publisher(String, "commentary/latest", _LATEST)
        self._publishers: list[LifecyclePublisher] = [self._events, self._words, self._latest]
        self._partial: LifecyclePublisher | None = None
        if partial:
            self._partial = node.create_lifecycle_publisher(String, "commentary/partial", _EVENT_DEPTH)
            self._publishers.append(self._partial)
        self._annotator: Annotator | None = None
        if annotate:
            self._annotator = Annotator()
            self._images = node.create_lifecycle_publisher(Image, "image_annotated", PUBLISHER_DEPTH)
            self._publishers.append(self._images)

    def publish(self, events: Sequence[CommentaryEvent], chunk: Chunk | None, frame_id: str) -> None:
        """Publish events, and the newest picture of the chunk they are about; from any one thread."""
        for event in events:
            line = String(data=event.to_json())
            self._events.publish(line)
            self._latest.publish(line)
            if event.words:
                self._words.publish(String(data=event.words))
        if self._annotator is not None and chunk is not None:
            self._images.publish(self._annotator.draw(chunk.frames[-1], events, frame_id))

    @property
    def hear(self) -> Callable[[CommentaryEvent], None] | None:
        """Publishes words while they are found, from any thread; None if nobody wants them."""
        return self._hear if self._partial is not None else None

    def _hear(self, event: CommentaryEvent) -> None:
        if self._partial is not None:
            self._partial.publish(String(data=event.to_json()))

    def close(self) -> None:
        """Take the publishers down."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
