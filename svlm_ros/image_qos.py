"""A subscription to an image topic that fits what the publishers offer, and says why when nothing arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CompressedImage, Image

from svlm_core.errors import ConfigError

# Images wait here only while Python is busy elsewhere; the chunker, not this queue, decides what is too old.
QUEUE_DEPTH = 5
QUIET_S = 5.0  # this long without an image, though a publisher is matched, is worth a warning

TRANSPORTS: dict[str, type[Any]] = {"raw": Image, "compressed": CompressedImage}


def image_qos(reliability: ReliabilityPolicy) -> QoSProfile:
    """Keep the last QUEUE_DEPTH images, with this reliability."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=QUEUE_DEPTH, reliability=reliability)


def fitting_reliability(publishers: Sequence[TopicEndpointInfo]) -> ReliabilityPolicy:
    """Reliable when every publisher offers it, else best effort, which matches any publisher.

    Raw images are larger than Fast DDS's default shared-memory segment, so over best effort none of their
    fragments' losses are mended and no image arrives whole.
    """
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


class ImageSubscription:
    """Subscribes as soon as publishers are seen, and again when what they offer changes."""

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
        self._on_image = on_image
        self._subscription: Subscription[Any] | None = None
        self._reliability: ReliabilityPolicy | None = None
        self._heard_s = time.monotonic()

    def check(self) -> None:
        """Look at the publishers; (re)subscribe if needed. Call it regularly on the executor's thread."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        wanted_type = f"sensor_msgs/msg/{self._type.__name__}"
        fitting = [info for info in publishers if info.topic_type == wanted_type]
        if publishers and not fitting:
            self._warn(
                f"{self.topic} carries {publishers[0].topic_type}, not {wanted_type}: "
                "mend the parameters image and image_transport"
            )
        elif not fitting:
            self._heard_s = time.monotonic()
            self._log_waiting()
        else:
            self._subscribe(fitting_reliability(fitting))
            if time.monotonic() - self._heard_s > QUIET_S:
                self._warn_quiet()

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        if reliability == self._reliability:
            return
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._reliability = reliability
        self._heard_s = time.monotonic()
        self._subscription = self._node.create_subscription(
            self._type, self.topic, self._receive, image_qos(reliability)
        )
        offer = reliability.name.lower().replace("_", " ")
        self._node.get_logger().info(f"subscribed to {self.topic}, {offer}")

    def _receive(self, msg: Any) -> None:
        self._heard_s = time.monotonic()
        self._on_image(msg)

    def _log_waiting(self) -> None:
        if self._subscription is None:
            text = f"waiting for a publisher on {self.topic}"
            self._node.get_logger().info(text, throttle_duration_sec=10.0)

    def _warn_quiet(self) -> None:
        hint = "is the camera running?"
        if self._type is Image and self._reliability == ReliabilityPolicy.BEST_EFFORT:
            hint = (
                "raw images over best effort are lost between processes with Fast DDS's defaults: "
                "set image_transport to compressed, or start the camera's process with "
                "FASTDDS_DEFAULT_PROFILES_FILE=<share of svlm_ros>/config/fastdds.xml"
            )
        self._warn(f"{self.topic} has a publisher but no image came for {QUIET_S:.0f} s; {hint}")

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(text, throttle_duration_sec=10.0)
