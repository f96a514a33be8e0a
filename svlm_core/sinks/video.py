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

"""The frames the model saw, with its words under them, as an MP4."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream
import cv2
import numpy as np
from svlm_core.errors import SvlmError
from svlm_core.events import CommentaryEvent, KIND_ANSWER, KIND_COMMENTARY
from svlm_core.frames import Chunk, NS_PER_S
from svlm_core.sinks.caption import CaptionStrip
from svlm_core.sinks.terminal import notice, said

MIN_WIDTH_PX = 336  # narrower frames are enlarged, or their captions could not be read
LINGER_S = 4.0  # how long a caption stays when nothing new is said
_TIME_BASE = Fraction(1, 60_000)  # a multiple of the usual rates, and small enough for MPEG-4 Part 2


class AnnotatedVideo:
    """Writes an MP4 of the frames the model used, with a caption strip under the picture.

    The words about a chunk are known only after its frames, so frames and events come together: call `chunk`
    once per chunk, with the events that it led to. The caption changes at the chunk's first frame, at the
    moment the words are about, not when they were said. Frames keep the distances of their stamps, so missing
    chunks stay on screen as a standing picture.

    While it is written the file is a fragmented MP4, playable up to its last frame but one even if the
    process is killed; `close` makes it an ordinary one.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        """Create the file.

        Args:
            path: the file, named *.mp4.
            fps: frames per second the model sees; the last frame is shown for 1 / fps.

        Raises:
            SvlmError: the file cannot be written.
        """
        self._path = Path(path)
        self._fps = Fraction(fps).limit_denominator(1001)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._strip = CaptionStrip(0)
        self._origin_ns = 0
        self._failed = False
        self._pts = -1  # of the newest frame, in units of _TIME_BASE
        self._caption, self._caption_until_ns = "", 0
        try:
            self._path.open(
                "wb"
            ).close()  # PyAV opens it with the first frame only: too late for a typing error
        except OSError as error:
            raise SvlmError(f"{self._path}: cannot be written ({error.strerror})") from error

    def chunk(self, chunk: Chunk, events: list[CommentaryEvent]) -> None:
        """Write one chunk's frames under the words about them.

        Args:
            chunk: the frames, all chunks of one size.
            events: what the commentator said about the chunk; a gap or reset is shown if there are no words.

        Raises:
            SvlmError: the file cannot be written, for example because the disk is full.
        """
        if self._failed:  # FFmpeg crashes when it is asked to go on
            raise SvlmError(f"{self._path}: cannot be written any more, after an earlier error")
        if events:
            words = [said(event) for event in events if event.kind in (KIND_COMMENTARY, KIND_ANSWER)]
            self._caption = words[-1] if words else f"[{notice(events[-1])}]"
            self._caption_until_ns = chunk.frames[-1].stamp_ns + round(LINGER_S * NS_PER_S)
        try:
            for frame in chunk.frames:
                caption = self._caption if frame.stamp_ns <= self._caption_until_ns else ""
                self._show(frame.rgb, frame.stamp_ns, caption)
        except av.FFmpegError as error:
            self._failed = True
            raise SvlmError(f"{self._path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Finish the file; may be called twice. SvlmError when that fails.

        After a failed write the file stays as it is, playable up to there.
        """
        container, stream = self._container, self._stream
        self._container = self._stream = None
        if container is None or stream is None or self._failed:
            return
        try:
            container.mux(stream.encode())
            container.close()
        except av.FFmpegError as error:
            raise SvlmError(f"{self._path}: cannot be finished ({error.strerror})") from error

    def __enter__(self) -> AnnotatedVideo:
        """The video itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Finish the file."""
        self.close()

    def _show(self, rgb: np.ndarray, stamp_ns: int, caption: str) -> None:
        """Encode one frame, uint8 [H, W, 3]."""
        scale = -(-MIN_WIDTH_PX // rgb.shape[1])
        if scale > 1:
            rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        if self._strip.width_px != rgb.shape[1]:
            self._strip = CaptionStrip(rgb.shape[1])
        picture = _even(np.vstack([rgb, self._strip.draw(caption)]))
        if self._container is None or self._stream is None:
            self._origin_ns = stamp_ns
            self._container, self._stream = self._open(picture)
        video_frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        at = round(Fraction(stamp_ns - self._origin_ns, NS_PER_S) / _TIME_BASE)
        self._pts = max(at, self._pts + 1)
        video_frame.pts, video_frame.time_base = self._pts, _TIME_BASE
        video_frame.duration = round(1 / self._fps / _TIME_BASE)
        self._container.mux(self._stream.encode(video_frame))

    def _open(self, picture: np.ndarray) -> tuple[OutputContainer, VideoStream]:
        # a fragment for every frame, so that each is on the disk at once; replaced by one index on closing
        flags = {"movflags": "hybrid_fragmented+frag_every_frame", "flush_packets": "1"}
        container = av.open(str(self._path), "w", format="mp4", options=flags)
        codec, options = _codec()
        stream = container.add_stream(codec, rate=self._fps, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TIME_BASE  # else stamps are rounded to 1 / fps
        stream.codec_context.gop_size = max(1, round(2 * self._fps))  # players jump to every other second
        return container, stream


def _codec() -> tuple[str, dict[str, str]]:
    """H.264 where this FFmpeg can write it, else MPEG-4 Part 2; without delay: nothing is held back."""
    if "libx264" in av.codecs_available:
        return "libx264", {"preset": "veryfast", "tune": "zerolatency", "crf": "20"}
    return "mpeg4", {"qmin": "2", "qmax": "5"}


def _even(rgb: np.ndarray) -> np.ndarray:
    """Pad to even sides, which yuv420p needs."""
    height, width = rgb.shape[:2]
    return cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
