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

"""Events as WebVTT subtitles."""

from __future__ import annotations

from pathlib import Path

from svlm_core.events import CommentaryEvent, KIND_ANSWER
from svlm_core.sinks.sink import Sink
from svlm_core.sinks.text_file import TextFile

_NS_PER_MS = 1_000_000
_ARROW = " --> "


class WebVtt(Sink):
    """One cue per event with words, shown until the next one begins but not longer than `show_s`.

    A cue is written complete at once, and its end is shortened in place when the next one turns out to begin
    earlier, so the file is valid subtitles at every moment. Answers have a voice of their own, by which they
    can be told apart. Gaps and resets have no words and make no cue.
    """

    def __init__(self, path: str | Path, show_s: float = 3.0, origin_ns: int = 0) -> None:
        """Create the file.

        Args:
            path: the file; on a pipe, where ends cannot be shortened, cues may overlap.
            show_s: the longest a cue is shown, seconds.
            origin_ns: the stamp that is 00:00:00.000, on the source's clock.

        Raises:
            SvlmError: the file cannot be written.
        """
        self._file = TextFile(path)
        self._file.append("WEBVTT\n\n")
        self._show_ms = max(1, round(show_s * 1000))
        self._origin_ns = origin_ns
        self._start_ms = 0  # of the newest cue, like its end and where its end is written
        self._end_ms = 0
        self._end_at = 0

    def write(self, event: CommentaryEvent) -> None:
        """Append one cue."""
        text = _cue_text(event.words)
        if not text:
            return
        if event.kind == KIND_ANSWER:
            text = f"<v Answer>{text}</v>"
        # cues must be in the order of their starts
        start_ms = max(self._start_ms, (event.stamp_oldest_ns - self._origin_ns) // _NS_PER_MS)
        if start_ms < self._end_ms and self._file.seekable:
            was, end_ms = _time(self._end_ms), max(start_ms, self._start_ms + 1)  # a cue lasts at least 1 ms
            self._file.overwrite(self._end_at, _time(end_ms).rjust(len(was), "0"))
        end_ms = start_ms + self._show_ms
        start = _time(start_ms)
        begins = self._file.append(f"{start}{_ARROW}{_time(end_ms)}\n{text}\n\n")
        self._start_ms, self._end_ms, self._end_at = start_ms, end_ms, begins + len(start + _ARROW)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _time(ms: int) -> str:
    """hh:mm:ss.mmm; hours grow as needed."""
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _cue_text(text: str) -> str:
    """One line that WebVTT reads as plain words."""
    words = " ".join(text.replace("\0", " ").split())
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
