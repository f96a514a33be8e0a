"""The node that watches an image topic and publishes what it sees in words."""

from __future__ import annotations

import time

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from svlm_core.errors import SvlmError
from svlm_core.events import CommentaryEvent
from svlm_ros.conversions import ns_from_stamp, rgb_from_compressed, rgb_from_image
from svlm_ros.image_qos import ImageSubscription
from svlm_ros.lifetime import End
from svlm_ros.parameters import declare_stream
from svlm_ros.worker import Worker

_CHECK_PERIOD_S = 0.25  # how often the image topic's publishers are looked at; discovery takes about as long


class StreamNode(Node):
    """Image topic in, commentary out.

    Publishes `commentary` (std_msgs/String: one line of JSON, config/commentary_event.schema.json) and
    `commentary/text` (the plain words). Subscribes once the model is ready: a camera that waits for
    subscribers then loses no frame, and no frame grows stale behind a model that loads.
    """

    def __init__(self, end: End) -> None:
        """Declare the parameters, start to load the model.

        Args:
            end: ends the process with an exit code.

        Raises:
            ParameterException, ConfigError: a parameter is wrong.
        """
        self._worker: Worker | None = None  # a node that was only half made is destroyed too
        super().__init__(
            "stream_node", namespace="/svlm", automatically_declare_parameters_from_overrides=True
        )
        parameters, overrides = declare_stream(self)
        self._events = self.create_publisher(String, "commentary", 10)
        self._words = self.create_publisher(String, "commentary/text", 10)
        self._images = ImageSubscription(self, parameters.image, parameters.image_transport, self._on_image)
        self._worker = Worker(
            parameters,
            overrides,
            parameters.camera or self._images.topic,
            self._publish,
            end,
            self.get_logger(),
        )
        self._timer = self.create_timer(_CHECK_PERIOD_S, self._check_images)

    def destroy_node(self) -> None:
        """Stop the inference thread, then take the node down."""
        if self._worker is not None:
            self._worker.stop()
        super().destroy_node()

    def _check_images(self) -> None:
        if self._worker is not None and self._worker.intake is not None:
            self._images.check()

    def _on_image(self, msg: Image | CompressedImage) -> None:
        """Convert and hand over; the model runs elsewhere."""
        arrived_s = time.monotonic()
        assert self._worker is not None and self._worker.intake is not None  # subscribed only after that
        intake = self._worker.intake
        try:
            rgb = rgb_from_image(msg) if isinstance(msg, Image) else rgb_from_compressed(msg)
        except SvlmError as error:
            intake.count_broken()
            self._warn_dropped(error)
            return
        try:
            restart = intake.push(rgb, self._stamp_ns(msg), msg.header.frame_id, arrived_s)
        except SvlmError as error:
            self._warn_dropped(error)
            return
        if restart:
            self.get_logger().warning(f"{restart}; a new stream begins")

    def _stamp_ns(self, msg: Image | CompressedImage) -> int:
        stamp_ns = ns_from_stamp(msg.header.stamp)
        if stamp_ns:
            return stamp_ns
        self.get_logger().warning("images carry no stamp; using the time of arrival instead", once=True)
        return self.get_clock().now().nanoseconds

    def _warn_dropped(self, error: SvlmError) -> None:
        self.get_logger().warning(f"dropped an image: {error}", throttle_duration_sec=5.0)

    def _publish(self, event: CommentaryEvent) -> None:
        self._events.publish(String(data=event.to_json()))
        if event.words:
            self._words.publish(String(data=event.words))
