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

"""The node that publishes any source of frames as a camera."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
import threading
import time
from typing import TypeVar

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from svlm_core.errors import ConfigError, SvlmError
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.paced import Paced
from svlm_core.sources.reconnecting import open_lasting
from svlm_core.sources.source import Source
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb
from svlm_ros.image_qos import image_qos
from svlm_ros.lifetime import End
from svlm_ros.parameters import CameraNodeParameters, declare_camera
from svlm_ros.playback_clock import PlaybackClock

_Msg = TypeVar("_Msg", Image, CompressedImage)

_FRAME_ID = "camera"  # where neither the user nor the source names one
_MATCH_POLL_S = 0.05
_LAST_IMAGE_S = 4.0  # for the last image to be acknowledged; Fast DDS asks for that every 3 s
_JOIN_S = 3.0


class CameraNode(Node):
    """A source in, `image_raw` and `image_raw/compressed` out, at the source's own pace.

    A live source keeps its own time and is opened again when it is lost. A recorded one is played at the
    parameter `rate`, either as if it happened now, or, with `publish_clock`, at the time when it happened.

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
        self._raw: Publisher[Image] | None = None
        self._compressed: Publisher[CompressedImage] | None = None
        if self._settings.transport in ("both", "raw"):
            self._raw = self._offer(Image, "image_raw")
        if self._settings.transport in ("both", "compressed"):
            self._compressed = self._offer(CompressedImage, "image_raw/compressed")
        self._playback = PlaybackClock(self) if self._settings.publish_clock else None
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

    def _offer(self, kind: type[_Msg], topic: str) -> Publisher[_Msg]:
        """A publisher whose quality of service parameters `qos_overrides.TOPIC.publisher.POLICY` change."""
        return self.create_publisher(
            kind,
            topic,
            image_qos(ReliabilityPolicy.RELIABLE),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

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
            with self._open() as source:
                self._source = source
                self._wait_for_subscribers()
                frame_id = self._settings.frame_id or source.frame_id or _FRAME_ID
                for frame, stamp_ns in self._stamped(source):
                    self._publish(frame, stamp_ns, frame_id)
                    published += 1
                period_s = 1.0 / source.fps / self._settings.rate if source.fps else 0.0
            if not self._settings.loop or self._stopped.wait(period_s):
                break
        for publisher in self._publishers_in_use():
            publisher.wait_for_all_acked(Duration(seconds=_LAST_IMAGE_S))
        passed_over = f", {source.broken} messages were no pictures" if source.broken else ""
        self.get_logger().info(f"{source.name} ended after {published} images{passed_over}")

    def _open(self) -> Source:
        """The source: a live one that is waited for and comes back, or a recorded one in real time."""
        settings = self._settings
        source = open_lasting(
            settings.source, self.get_logger().warning, folder_fps=settings.folder_fps, patient=True
        )
        if not source.live:
            return Paced(source, settings.rate)
        for name in ("publish_clock", "rate", "loop"):
            if getattr(settings, name) != getattr(CameraNodeParameters, name):
                raise ConfigError(f"parameter {name} is for recorded sources; {source.name} is live")
        return source

    def _stamped(self, source: Source) -> Iterator[tuple[Frame, int]]:
        """The frames, each with its image's stamp, until the source ends or the node does."""
        stamped = self._played(source) if isinstance(source, Paced) else self._filmed(source)
        return takewhile(lambda _: not self._stopped.is_set(), stamped)

    def _filmed(self, source: Source) -> Iterator[tuple[Frame, int]]:
        """A live source's frames: stamped with the moment on the node's clock at which they were taken."""
        for frame in source:
            age_ns = time.time_ns() - frame.stamp_ns
            yield frame, self.get_clock().now().nanoseconds - age_ns

    def _played(self, source: Paced) -> Iterator[tuple[Frame, int]]:
        """A recording's frames: stamped as if a camera took them now, or with the time when it took them."""
        pace = 1.0 if self._playback else self._settings.rate
        first_ns, start_ns = None, 0
        for frame in source:
            if first_ns is None:
                first_ns, start_ns = frame.stamp_ns, self._start_ns(frame.stamp_ns)
                if self._playback:
                    self._playback.follow(source, start_ns - first_ns)
            stamp_ns = start_ns + round((frame.stamp_ns - first_ns) / pace)
            if self._playback:
                self._playback.reach(stamp_ns)
            yield frame, stamp_ns
        if self._playback:
            self._playback.hold()

    def _start_ns(self, first_ns: int) -> int:
        """The stamp of a recording's first image. With /clock not 0, which ROS reads as "no time yet"."""
        return max(first_ns, NS_PER_S) if self._playback else self.get_clock().now().nanoseconds

    def _publish(self, frame: Frame, stamp_ns: int, frame_id: str) -> None:
        if self._raw is not None:
            self._raw.publish(image_from_rgb(frame.rgb, stamp_ns, frame_id))
        if self._compressed is not None and self._compressed.get_subscription_count():
            quality = self._settings.jpeg_quality
            self._compressed.publish(compressed_from_rgb(frame.rgb, stamp_ns, frame_id, quality))

    def _publishers_in_use(self) -> list[Publisher[Image] | Publisher[CompressedImage]]:
        return [publisher for publisher in (self._raw, self._compressed) if publisher is not None]

    def _wait_for_subscribers(self) -> None:
        wanted = self._settings.wait_for_subscribers
        while sum(publisher.get_subscription_count() for publisher in self._publishers_in_use()) < wanted:
            self.get_logger().info(f"waiting for {wanted} subscribers", throttle_duration_sec=10.0)
            if self._stopped.wait(_MATCH_POLL_S):
                return
