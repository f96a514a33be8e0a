"""Live streams over the network: RTSP cameras, MJPEG or MPEG-TS over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import av
import numpy as np
from av.container import InputContainer

from svlm_core.errors import SourceError
from svlm_core.frames import Frame
from svlm_core.sources.source import Source

SCHEMES = ("rtsp", "rtsps", "http", "https")
TIMEOUT_S = 10.0  # without an answer, or without one good picture


class NetworkStream(Source):
    """A camera or server by its URL; frames are stamped with the system clock when they have been decoded.

    Damaged pictures are passed over, as networks lose packets; silence longer than TIMEOUT_S is an error.
    Names and messages leave out user, password and query of the URL.
    """

    live = True
    frames_total = None

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            SourceError: the server does not answer, refuses, or sends no video.
        """
        self._closed = threading.Event()
        try:
            parts = urlsplit(url)
            self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        except ValueError as error:
            raise SourceError(f"the address cannot be understood: {error}") from None
        try:
            # over TCP: RTSP over UDP loses packets, and with them pictures, on ordinary wireless networks
            self._container: InputContainer = av.open(
                url, options={"rtsp_transport": "tcp"}, timeout=TIMEOUT_S
            )
        except (av.FFmpegError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, av.FFmpegError) else "not a valid address"
            raise SourceError(f"{self.name} cannot be opened: {reason}") from None
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{self.name} cannot be used: there is no video in this stream")
        self._stream = self._container.streams.video[0]
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)

    def __iter__(self) -> Iterator[Frame]:
        """Frames until close() or until the server ends the stream; SourceError when it falls silent."""
        frames, last_s = 0, time.monotonic()
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
                        rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
                        yield Frame(time.time_ns(), rgb, self.name)
                        frames += 1
                if time.monotonic() - last_s > TIMEOUT_S:
                    raise SourceError(
                        f"{self.name}: no good picture for {TIMEOUT_S:.0f} s after {frames} frames"
                    )
        except av.FFmpegError as error:
            raise SourceError(
                f"{self.name}: the stream broke after {frames} frames: {error.strerror}"
            ) from None
        finally:
            self._container.close()

    def close(self) -> None:
        """End the iteration at its next frame; the iteration then hangs up."""
        self._closed.set()
