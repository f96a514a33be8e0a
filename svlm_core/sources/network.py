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

"""Live streams over the network: RTSP cameras, MJPEG or MPEG-TS over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
import threading
import time
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
import numpy as np
from svlm_core.errors import SourceError
from svlm_core.frames import Frame
from svlm_core.sources.source import Source

SCHEMES = ("rtsp", "rtsps", "http", "https")
TIMEOUT_S = 10.0  # without an answer, or without one good picture


class NetworkStream(Source):
    """A camera or server by its URL; frames are stamped with the system clock when they have been decoded.

    Damaged pictures are passed over, as networks lose packets; silence longer than TIMEOUT_S is an error.
    Names and messages leave out user, password and query of the URL. `frames_total` is known where the server
    sends a recording whose header says how long it is.
    """

    live = True

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            SourceError: the server does not answer, refuses, or sends no video.
        """
        self._closed = threading.Event()
        self.name = public_name(url)
        try:
            # over TCP: RTSP over UDP loses packets, and with them pictures, on ordinary wireless networks
            self._container: InputContainer = av.open(
                url, options={"rtsp_transport": "tcp"}, timeout=TIMEOUT_S
            )
        except (av.FFmpegError, UnicodeError) as error:
            reason = _reason(error) if isinstance(error, av.FFmpegError) else "not a valid address"
            raise SourceError(f"{self.name} cannot be opened: {reason}") from None
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{self.name} cannot be used: there is no video in this stream")
        self._stream = self._container.streams.video[0]
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        length_s = (self._container.duration or 0) / av.time_base
        self.frames_total: int | None = max(1, round(length_s * self.fps)) if length_s > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """Frames until close() or until the server ends the stream; SourceError when it falls silent."""
        frames, last_s, colours = 0, time.monotonic(), VideoReformatter()
        try:
            for packet in self._container.demux(self._stream):
                try:
                    pictures = packet.decode()
                except av.InvalidDataError:
                    pictures = []
                for picture in pictures:
                    if self._closed.is_set():
                        return
                    if not picture.is_corrupt:
                        last_s = time.monotonic()
                        rgb = np.ascontiguousarray(colours.reformat(picture, format="rgb24").to_ndarray())
                        yield Frame(time.time_ns(), rgb, self.name)
                        frames += 1
                if time.monotonic() - last_s > TIMEOUT_S:
                    raise SourceError(
                        f"{self.name}: no good picture for {TIMEOUT_S:.0f} s after {frames} frames"
                    )
        except av.FFmpegError as error:
            raise SourceError(
                f"{self.name}: the stream broke after {frames} frames: {_reason(error)}"
            ) from None
        finally:
            self._container.close()

    def close(self) -> None:
        """End the iteration at its next frame; the iteration then hangs up."""
        self._closed.set()


def public_name(url: str) -> str:
    """The URL without user, password and query.

    Raises:
        SourceError: it is no URL.
    """
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError as error:
        raise SourceError(f"the address cannot be understood: {error}") from None


def _reason(error: av.FFmpegError) -> str:
    """What went wrong, in words; FFmpeg calls its time limit an exit that was asked for."""
    return (
        f"silence for {TIMEOUT_S:.0f} s" if isinstance(error, av.ExitError) else error.strerror or str(error)
    )
