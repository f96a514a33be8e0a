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

"""Image topics of recordings: rosbag2 folders, .mcap and .db3 files."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
import threading
from typing import Any

from svlm_core.errors import SourceError
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.bag_codecs import BrokenDataError, inflate, ZSTD_MAGIC
from svlm_core.sources.bag_files import BagFiles, Topic
from svlm_core.sources.bag_rescue import RawMessage
from svlm_core.sources.image_message import ns_from_stamp, rgb_from_compressed, rgb_from_image
from svlm_core.sources.source import Source

_DECODERS = {
    "sensor_msgs/msg/Image": rgb_from_image,
    "sensor_msgs/msg/CompressedImage": rgb_from_compressed,
}


class BagSource(Source):
    """The pictures of one image topic, stamped by their headers, as fast as they are asked for.

    A message that is no picture is passed over and counted. Where the recording breaks, every good frame
    before the break is handed out, then SourceError.
    """

    live = False

    def __init__(self, path: str | Path, topic: str = "") -> None:
        """Open a recording and look at its first picture.

        Args:
            path: a rosbag2 folder, or a .mcap or .db3 file; files compressed as a whole end in .zstd.
            topic: of sensor_msgs/Image or CompressedImage; not needed when there is only one.

        Raises:
            SourceError: no bag, no such topic, several to choose from, or not one picture in it.
        """
        self._path = Path(path)
        self._files = BagFiles(self._path)
        self._topic = self._choose(topic)
        from rosbags.typesys import get_typestore, Stores

        self._types = get_typestore(Stores.LATEST)  # image messages are the same in every ROS 2 release
        self._closed = threading.Event()
        self._reason = ""  # why the first of the broken messages is no picture
        self.name = self._topic.name
        self.frames_total = self._topic.messages or None
        length_s = self._files.length_s
        self.fps = self._topic.messages / length_s if length_s > 0 else 0.0
        with closing(self._pictures()) as pictures:
            first, self.frame_id = next(pictures, (None, ""))
        if first is None:
            raise SourceError(f"{self._path}: {self.name}: not one picture in it ({self._reason or 'empty'})")
        self.origin_ns = first.stamp_ns

    def __iter__(self) -> Iterator[Frame]:
        """The pictures, from the first."""
        frames, stamp_ns = 0, self.origin_ns
        try:
            for frame, _ in self._pictures():
                if self._closed.is_set():
                    return
                yield frame
                frames, stamp_ns = frames + 1, frame.stamp_ns
        except SourceError as error:
            seen = f"frame {frames} ({(stamp_ns - self.origin_ns) / NS_PER_S:.1f} s)"
            raise SourceError(f"{self.name} breaks after {seen}: {error}") from error

    def close(self) -> None:
        """End the iteration at its next frame."""
        self._closed.set()

    def _pictures(self) -> Generator[tuple[Frame, str], None, None]:
        """Pictures and the coordinate frames in their headers; counts `broken` from 0."""
        self.broken = 0
        for message in self._files.messages(self._topic.name):
            try:
                picture = self._picture(message)
            except SourceError as error:
                self.broken += 1
                self._reason = self._reason or str(error)
                continue
            yield picture

    def _picture(self, message: RawMessage) -> tuple[Frame, str]:
        data = message.data
        try:
            if data.startswith(ZSTD_MAGIC):  # a CDR message begins with 0
                data = inflate(data, "zstd")
            decoded: Any = self._types.deserialize_cdr(data, self._topic.kind)
            stamp_ns = ns_from_stamp(decoded.header.stamp) or int(message.recorded_ns)
        except BrokenDataError as error:
            raise SourceError(str(error)) from error
        except Exception as error:  # rosbags promises no particular one for damaged bytes
            reason = " ".join(str(error).split())
            raise SourceError(f"not a {self._topic.kind} ({type(error).__name__}: {reason})") from error
        rgb = _DECODERS[self._topic.kind](decoded)
        return Frame(stamp_ns, rgb, self._topic.name), decoded.header.frame_id

    def _choose(self, topic: str) -> Topic:
        images = [known for known in self._files.topics if known.kind in _DECODERS]
        listed = ", ".join(f"{known.name} ({known.kind.rpartition('/')[2]})" for known in images)
        if not images:
            others = ", ".join(known.name for known in self._files.topics) or "no topic at all"
            raise SourceError(f"{self._path}: no image topic in this bag; it has {others}")
        if topic:
            for known in images:
                if known.name == topic:
                    return known
            raise SourceError(f"{self._path}: no image topic {topic!r}; it has {listed}")
        if len(images) > 1:
            raise SourceError(f"{self._path}: several image topics, choose one of {listed}")
        return images[0]
