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

"""Video files, read by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
import threading
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
import numpy as np
from svlm_core.errors import SourceError
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.clock import FrameClock
from svlm_core.sources.source import Source

# Containers whose header says how long the recording is. For the others FFmpeg guesses from what is there.
_DECLARING = ("mov", "matroska", "flv", "avi")
_TOLERANCE_S, _TOLERANCE_SHARE = 1.0, 0.05  # what may be missing at the end before a file counts as cut off
_SHORT_S = 0.5  # how far before the end of a stretch its last picture may end


@dataclass(frozen=True)
class Picture:
    """A picture that was decoded and not turned to RGB yet, which costs as much again.

    Attributes:
        stamp_ns: when it is shown, nanoseconds from the first one.
        source: name of the file.
        decoded: as the decoder gave it.
        colours: of this pass over the file.
    """

    stamp_ns: int
    source: str
    decoded: av.VideoFrame
    colours: VideoReformatter

    def frame(self) -> Frame:
        """The picture as a frame."""
        return Frame(self.stamp_ns, _upright(self.decoded, self.colours), self.source)


class VideoFile(Source):
    """The frames of a video file, stamped with the file's own presentation times from 0.

    Damage is an error, never a picture: a file that breaks, or that ends long before the length in its
    header, hands out every good frame before that point and then raises SourceError.
    """

    live = False

    def __init__(self, path: str | Path) -> None:
        """Open the file to see what it is.

        Raises:
            SourceError: there is no such file, it is not a video, or it has no video stream.
        """
        self.name = Path(path).name
        self._path = Path(path)
        self._closed = threading.Event()
        with self._open() as container:
            stream = self._video_stream(container)
            rate, length_s = _rate(stream), _declared_s(container, stream)
            self.fps = float(rate or 0)
            self.frames_total: int | None = (
                stream.frames or (round(length_s * self.fps) if length_s else 0) or None
            )

    def __iter__(self) -> Iterator[Frame]:
        """The frames; each iteration begins at the start of the file."""
        with self._open() as container:
            stream = self._video_stream(container)
            clock = FrameClock(stream.time_base, _rate(stream), str(self._path))
            reading, colours = _Reading(container, stream), VideoReformatter()
            frames, stamp_ns = 0, 0
            for picture in reading.pictures():
                if self._closed.is_set():
                    return
                stamp_ns = clock.stamp_ns(picture.pts)
                yield Frame(stamp_ns, _upright(picture, colours), self.name)
                frames += 1
            seen = f"frame {frames} ({stamp_ns / 1e9:.1f} s)"
            if not frames:
                raise SourceError(
                    f"{self._path}: not one picture in it can be decoded ({reading.broken or 'it is empty'})"
                )
            if reading.broken:
                raise SourceError(f"{self._path}: the video breaks after {seen}: {reading.broken}")
            missing_s = reading.missing_s(frames)
            if missing_s > max(_TOLERANCE_S, _TOLERANCE_SHARE * (stamp_ns / 1e9 + missing_s)):
                raise SourceError(
                    f"{self._path}: the file is cut off after {seen}, {missing_s:.1f} s before the end"
                )

    def between(self, start_s: float, end_s: float) -> Iterator[Picture]:
        """The pictures on screen from start_s until end_s, read from the key frame before.

        The first one may be stamped earlier: it is still on screen at start_s. Stamps are those of the
        iteration, except where the file's own jump back.

        Raises:
            SourceError: the file breaks or ends before end_s, or its pictures carry no times.
        """
        with self._open() as container:
            stream = self._video_stream(container)
            if start_s > 0 and stream.time_base:
                # where a container cannot seek, it is read from its start
                with suppress(av.FFmpegError):
                    container.seek((stream.start_time or 0) + int(start_s / stream.time_base), stream=stream)
            reading, colours = _Reading(container, stream), VideoReformatter()
            shown: av.VideoFrame | None = None  # the newest before start_s
            for picture in reading.pictures():
                at_s = self._seconds(picture, stream)
                if at_s >= end_s or self._closed.is_set():
                    break
                if at_s > start_s and shown is not None:
                    yield self._picture(shown, stream, colours)
                    shown = None
                if at_s <= start_s:
                    shown = picture
                else:
                    yield self._picture(picture, stream, colours)
            else:
                reached_s = reading.pictures_s - float((stream.start_time or 0) * (stream.time_base or 0))
                if reading.broken or reached_s < end_s - _SHORT_S:
                    why = reading.broken or "the video ends there"
                    raise SourceError(f"{self._path}: nothing to see after {reached_s:.1f} s: {why}")
            if shown is not None:
                yield self._picture(shown, stream, colours)

    def measure(self) -> tuple[float, str]:
        """How long the pictures go on, in seconds, and why they end sooner than the header says ("" if not).

        Reads the whole file and decodes nothing: damage inside a picture stays unseen.

        Raises:
            SourceError: the file cannot be opened.
        """
        with self._open() as container:
            stream = self._video_stream(container)
            reading = _Reading(container, stream)
            base, packets, end = stream.time_base or Fraction(0), 0, stream.start_time or 0
            for packet in reading.packets():
                packets += bool(packet.size)
                if packet.pts is not None:
                    end = max(end, packet.pts + (packet.duration or 0))
            length_s = float((end - (stream.start_time or 0)) * base) or packets / max(self.fps, 1.0)
            missing_s = reading.missing_s(packets)
            cut_off = missing_s > max(_TOLERANCE_S, _TOLERANCE_SHARE * (length_s + missing_s))
            why = reading.broken or (f"cut off {missing_s:.1f} s before its end" if cut_off else "")
            return length_s, why

    def _picture(self, picture: av.VideoFrame, stream: VideoStream, colours: VideoReformatter) -> Picture:
        return Picture(round(self._seconds(picture, stream) * NS_PER_S), self.name, picture, colours)

    def _seconds(self, picture: av.VideoFrame, stream: VideoStream) -> float:
        if picture.pts is None or not stream.time_base:
            raise SourceError(
                f"{self._path}: its pictures carry no times; write it again: ffmpeg -i INPUT OUTPUT.mp4"
            )
        # in whole numbers: a sum of fractions would cost as much as a small picture's decoding
        base = stream.time_base
        return (picture.pts - (stream.start_time or 0)) * base.numerator / base.denominator

    def close(self) -> None:
        """End the iteration at its next frame."""
        self._closed.set()

    def _open(self) -> InputContainer:
        if not self._path.exists():
            raise SourceError(f"{self._path}: there is no such file")
        if not self._path.is_file():
            raise SourceError(f"{self._path}: not a file, so not a video")
        try:
            # "file:" keeps FFmpeg from reading a colon in the name as a network protocol
            return av.open(f"file:{self._path}")
        except (av.FFmpegError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, av.FFmpegError) else str(error)
            raise SourceError(f"{self._path}: cannot be read as a video ({reason})") from error

    def _video_stream(self, container: InputContainer) -> VideoStream:
        if not container.streams.video:
            raise SourceError(f"{self._path}: there is no video stream in this file")
        return container.streams.video[0]


class _Reading:
    """One pass over a container: the good pictures, and what stopped them.

    Attributes:
        broken: why decoding stopped, "" while nothing is wrong.
        reached_s: end of the last packet read, of any stream: sound may outlast the pictures; on the
            container's clock.
        pictures_s: end of the last picture's packet.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.broken = ""
        self._container = container
        self._stream = stream
        self.reached_s = self.pictures_s = 0.0

    def pictures(self) -> Iterator[av.VideoFrame]:
        """The pictures in the order of their time, up to the end or the first damage.

        A recording may begin between two key frames, so what cannot be decoded before the first good picture
        is passed over.
        """
        started = False
        for packet in self.packets():
            for picture in self._decode(packet, started):
                started = True
                yield picture
            if started and self.broken:
                return

    def missing_s(self, frames: int) -> float:
        """Seconds between the end of what was read and the length in the header, at least 0."""
        declared_s = _declared_s(self._container, self._stream)
        if declared_s is None or frames >= self._stream.frames > 0:
            return 0.0
        start_s = (self._container.start_time or 0) / av.time_base
        return max(0.0, declared_s - (self.reached_s - start_s))

    def packets(self) -> Iterator[Packet[Any]]:
        """The packets of the pictures, in the order of the file, up to its end or the first damage."""
        try:
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base:
                    base = packet.time_base
                    end_s = (packet.pts + (packet.duration or 0)) * base.numerator / base.denominator
                    self.reached_s = max(self.reached_s, end_s)
                    if packet.stream_index == self._stream.index:
                        self.pictures_s = max(self.pictures_s, end_s)
                if packet.stream_index == self._stream.index:
                    yield packet
        except av.FFmpegError as error:
            self.broken = error.strerror or str(error)

    def _decode(self, packet: Packet[Any], started: bool) -> list[av.VideoFrame]:
        """The good pictures that come out when a packet goes in; sets `broken` when not all are good."""
        try:
            pictures = packet.decode()
        except av.FFmpegError as error:
            self.broken = error.strerror or str(error)
            pictures = self._held_back() if started else []
        good: list[av.VideoFrame] = []
        for picture in pictures:
            if picture.is_corrupt:
                self.broken = "damaged picture"
                if started or good:
                    break
            else:
                if not started and not good:
                    self.broken = ""  # what came before the first good picture does not count
                good.append(picture)
        return good

    def _held_back(self) -> list[av.VideoFrame]:
        """Pictures from before the break that the decoder still holds to put them in order."""
        try:
            return self._stream.decode(None)
        except av.FFmpegError:
            return []


def _rate(stream: VideoStream) -> Fraction | None:
    return stream.average_rate or stream.guessed_rate


def _declared_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Length of the recording by its header, seconds; None when the header does not say."""
    rate = _rate(stream)
    if not container.format.name.startswith(_DECLARING):
        return None
    if container.format.name == "avi":  # FFmpeg shortens an AVI's duration to fit the file's size
        return float(stream.frames / rate) if stream.frames and rate else None
    return container.duration / av.time_base if container.duration else None


def _upright(picture: av.VideoFrame, colours: VideoReformatter) -> np.ndarray:
    """The picture as uint8 RGB [H, W, 3], turned the way its rotation mark says.

    A reformatter is kept from one picture to the next: making one costs as much as using it.
    """
    rgb = colours.reformat(picture, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, round(picture.rotation / 90)))
