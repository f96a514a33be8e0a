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

"""A subscription to an image topic that fits what the publishers offer, and says why when nothing arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import time
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import (
    HistoryPolicy,
    qos_check_compatible,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CompressedImage, Image
from svlm_core.errors import ConfigError

PUBLISHER_DEPTH = 5  # a burst waits here; whoever subscribes decides what is too old
SUBSCRIPTION_DEPTH = 1  # an image that was not fetched when the next one comes is too old already
QUIET_S = 5.0  # this long without an image, though a publisher is matched, is worth a warning

TRANSPORTS: dict[str, type[Any]] = {"raw": Image, "compressed": CompressedImage}


def image_qos(reliability: ReliabilityPolicy, depth: int = PUBLISHER_DEPTH) -> QoSProfile:
    """Keep the last `depth` images, with this reliability."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)


def fitting_reliability(publishers: Sequence[TopicEndpointInfo]) -> ReliabilityPolicy:
    """Reliable when every publisher offers it, else best effort, which matches any publisher.

    Raw images are larger than Fast DDS's default shared-memory segment, so over best effort none of their
    fragments' losses are mended and no image arrives whole.
    """
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


@dataclass(frozen=True)
class ImageLink:
    """How the image topic stands.

    Attributes:
        topic: its name.
        publishers: how many there are.
        received: messages so far.
        quiet_s: since the last image, or since a fitting publisher came.
        mismatch: why images of some publisher cannot be received; "" when they can.
        quiet_hint: what to try when a publisher is matched but silent; "" while there is no reason.
    """

    topic: str
    publishers: int
    received: int
    quiet_s: float
    mismatch: str
    quiet_hint: str


class ImageSubscription:
    """Subscribes as soon as publishers are seen, and again when what they offer changes.

    The user's own wish comes first, as everywhere in ROS: parameters
    `qos_overrides.TOPIC.subscription.POLICY` for the policies reliability, depth and history.

    Attributes:
        topic: the resolved topic.
        received: messages so far.
    """

    def __init__(self, node: Node, image: str, transport: str, on_image: Callable[[Any], None]) -> None:
        """Remember what to subscribe to; `check` does it.

        Args:
            node: the node that subscribes.
            image: base topic, as image_transport uses the word.
            transport: "raw" or "compressed".
            on_image: called on the executor's thread with Image or CompressedImage messages.

        Raises:
            ConfigError: `image` is not a topic name.
        """
        try:
            validate_topic_name(image)
        except InvalidTopicNameException as error:
            reason = str(error).splitlines()[0].rstrip(":")
            raise ConfigError(f"parameter image {image!r}: {reason}") from error
        self._node = node
        self._type = TRANSPORTS[transport]
        self.topic = node.resolve_topic_name(image if transport == "raw" else f"{image}/{transport}")
        # A policy's parameter keeps the value it is declared with: declared for the first publisher's offer,
        # it would win over the next one's. So the reliability is declared only where the user gave it.
        self._policies = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH]
        if node.has_parameter(f"qos_overrides.{self.topic}.subscription.reliability"):
            self._policies.append(QoSPolicyKind.RELIABILITY)
        self.received = 0
        self._on_image = on_image
        self._subscription: Subscription[Any] | None = None
        self._reliability: ReliabilityPolicy | None = None
        self._heard_s = time.monotonic()

    def check(self) -> ImageLink:
        """Look at the publishers; (re)subscribe if needed. Call it regularly on the executor's thread.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        wanted_type = f"sensor_msgs/msg/{self._type.__name__}"
        fitting = [info for info in publishers if info.topic_type == wanted_type]
        if fitting:
            self._subscribe(fitting_reliability(fitting))
        mismatch = self._mismatch(fitting)
        if publishers and not fitting:
            mismatch = (
                f"{self.topic} carries {publishers[0].topic_type}, not {wanted_type}: "
                "mend the parameters image and image_transport"
            )
        if not fitting or mismatch:
            self._heard_s = time.monotonic()
        quiet_s = time.monotonic() - self._heard_s
        hint = self._quiet_hint() if quiet_s > QUIET_S else ""
        return ImageLink(self.topic, len(publishers), self.received, quiet_s, mismatch, hint)

    def close(self) -> None:
        """Unsubscribe; `check` subscribes again."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._reliability = None

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        if reliability == self._reliability:
            return
        self.close()
        self._reliability = reliability
        self._heard_s = time.monotonic()
        try:
            self._subscription = self._node.create_subscription(
                self._type,
                self.topic,
                self._receive,
                image_qos(reliability, SUBSCRIPTION_DEPTH),
                # a mismatch is found by `check`, which also sees publishers that never match
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions(self._policies),
            )
        except (RuntimeError, ValueError) as error:  # what rclpy says to an override it cannot read
            raise ConfigError(f"qos_overrides of {self.topic}: {error}") from error
        qos = self._subscription.qos_profile
        asked = qos.reliability.name.lower().replace("_", " ")
        self._node.get_logger().info(f"subscribed to {self.topic}, {asked}, depth {qos.depth}")

    def _receive(self, msg: Any) -> None:
        self._heard_s = time.monotonic()
        self.received += 1
        self._on_image(msg)

    def _mismatch(self, publishers: Sequence[TopicEndpointInfo]) -> str:
        """Why no image can come from some publisher; "" when all fit."""
        if self._subscription is None:
            return ""
        for info in publishers:
            compatibility, reason = qos_check_compatible(info.qos_profile, self._subscription.qos_profile)
            if compatibility == QoSCompatibility.ERROR:
                name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
                return f"{name} on {self.topic} does not offer the QoS asked for: {' '.join(reason.split())}"
        return ""

    def _quiet_hint(self) -> str:
        if self._type is Image and self._reliability == ReliabilityPolicy.BEST_EFFORT:
            return (
                "raw images over best effort are lost between processes with Fast DDS's defaults: "
                "set image_transport to compressed, or start the camera's process with "
                "FASTDDS_DEFAULT_PROFILES_FILE=<share of svlm_ros>/config/fastdds.xml"
            )
        return "is the camera running?"
