"""The node that publishes any source of frames as a camera."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from svlm_core.errors import SvlmError
from svlm_core.frames import Frame
from svlm_core.sources.open import open_source
from svlm_core.sources.paced import Paced
from svlm_core.sources.source import Source
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb
from svlm_ros.image_qos import image_qos
from svlm_ros.lifetime import End
from svlm_ros.parameters import declare_camera

_MATCH_POLL_S = 0.05
_LAST_IMAGE_S = 4.0  # for the last image to be acknowledged; Fast DDS asks for that every 3 s
_JOIN_S = 3.0


class CameraNode(Node):
    """A source in, `image_raw` and `image_raw/compressed` out, at the source's own pace.

    Images are offered reliable: best-effort subscriptions match that as well, and raw images, which Fast DDS
    splits into fragments, do not arrive over best effort between processes with its default settings. With
    "keep last", a slow subscriber loses old images instead of holding the camera up.
    """

    def __init__(self, end: End) -> None:
        """Declare the parameters and start to publish.

        Args:
            end: ends the process: with 0 when the source has ended, with 1 when it is broken.

        Raises:
            ParameterException, ConfigError: a parameter is wrong.
        """
        self._thread: threading.Thread | None = None  # a node that was only half made is destroyed too
        super().__init__(
            "camera_node", namespace="/camera", automatically_declare_parameters_from_overrides=True
        )
        self._settings = declare_camera(self)
        self._end = end
        qos = image_qos(ReliabilityPolicy.RELIABLE)
        self._raw: Publisher[Image] | None = None
        self._compressed: Publisher[CompressedImage] | None = None
        if self._settings.transport in ("both", "raw"):
            self._raw = self.create_publisher(Image, "image_raw", qos)
        if self._settings.transport in ("both", "compressed"):
            self._compressed = self.create_publisher(CompressedImage, "image_raw/compressed", qos)
        self._stopped = threading.Event()
        self._source: Source | None = None
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop publishing, then take the node down."""
        if self._thread is not None:
            self._stopped.set()
            if self._source is not None:
                self._source.close()
            self._thread.join(_JOIN_S)
        super().destroy_node()

    def _run(self) -> None:
        try:
            self._publish_source()
        except SvlmError as error:
            self.get_logger().fatal(str(error))
            self._end(1)
        except Exception as error:
            self.get_logger().fatal(f"{type(error).__name__} in the camera thread: {error}")
            self._end(1)
            raise
        else:
            self._end(0)

    def _publish_source(self) -> None:
        published = 0
        while not self._stopped.is_set():
            with _in_real_time(open_source(self._settings.source)) as source:
                self._source = source
                self._wait_for_subscribers()
                for frame, stamp_ns in self._stamped(source):
                    self._publish(frame, stamp_ns)
                    published += 1
                period_s = 1.0 / source.fps if source.fps else 0.0
            if not self._settings.loop or self._stopped.wait(period_s):
                break
        for publisher in self._publishers_in_use():
            publisher.wait_for_all_acked(Duration(seconds=_LAST_IMAGE_S))
        self.get_logger().info(f"{self._settings.source} ended after {published} images")

    def _stamped(self, source: Source) -> Iterator[tuple[Frame, int]]:
        """Frames in real time, each with its moment on the node's clock: the first is now."""
        offset_ns: int | None = None
        for frame in source:
            if self._stopped.is_set():
                return
            if offset_ns is None:
                offset_ns = self.get_clock().now().nanoseconds - frame.stamp_ns
            yield frame, offset_ns + frame.stamp_ns

    def _publish(self, frame: Frame, stamp_ns: int) -> None:
        settings = self._settings
        if self._raw is not None:
            self._raw.publish(image_from_rgb(frame.rgb, stamp_ns, settings.frame_id))
        if self._compressed is not None and self._compressed.get_subscription_count():
            self._compressed.publish(
                compressed_from_rgb(frame.rgb, stamp_ns, settings.frame_id, settings.jpeg_quality)
            )

    def _publishers_in_use(self) -> list[Publisher[Image] | Publisher[CompressedImage]]:
        return [publisher for publisher in (self._raw, self._compressed) if publisher is not None]

    def _wait_for_subscribers(self) -> None:
        wanted = self._settings.wait_for_subscribers
        while sum(publisher.get_subscription_count() for publisher in self._publishers_in_use()) < wanted:
            self.get_logger().info(f"waiting for {wanted} subscribers", throttle_duration_sec=10.0)
            if self._stopped.wait(_MATCH_POLL_S):
                return


def _in_real_time(source: Source) -> Source:
    """A live source keeps its own time; pacing it by a second clock would only let it fall behind."""
    return source if source.live else Paced(source)
