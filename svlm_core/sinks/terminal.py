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

"""Events as lines on a terminal."""

from __future__ import annotations

import shutil
from typing import TextIO

from svlm_core.events import CommentaryEvent, KIND_ANSWER, KIND_COMMENTARY, KIND_GAP, KIND_PARTIAL
from svlm_core.frames import NS_PER_S
from svlm_core.sinks.sink import Sink

_DIM, _PLAIN, _ERASE_LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


class Terminal(Sink):
    """One line per event: `[mm:ss.s] text   (latency)`.

    Answers say which question they belong to. Gaps and resets are marked, and dimmed on a real terminal,
    where partial words are shown until the next event takes their line.
    """

    def __init__(self, stream: TextIO, origin_ns: int = 0, show_camera: bool = False) -> None:
        """Write to a stream, which stays open.

        Args:
            stream: usually sys.stdout.
            origin_ns: the stamp that is shown as 00:00.0, on the source's clock.
            show_camera: begin each line with the camera's name.
        """
        self._stream = stream
        self._origin_ns, self._show_camera = origin_ns, show_camera
        self._partial = False  # whether the line that the cursor is in has partial words

    def write(self, event: CommentaryEvent) -> None:
        """Write one line and flush it."""
        tenths = max(0, event.stamp_oldest_ns - self._origin_ns) * 10 // NS_PER_S
        line = f"[{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}] "
        if self._show_camera:
            line = f"{_printable(event.camera)} {line}"
        if event.kind == KIND_PARTIAL:
            self._show(line + _printable(event.text))
            return
        if event.kind in (KIND_COMMENTARY, KIND_ANSWER):
            line += f"{_printable(said(event))}   ({event.latency_ms:.0f} ms)"
        else:
            line += f"-- {event.kind}: {_printable(notice(event))} --"
            if self._stream.isatty():
                line = f"{_DIM}{line}{_PLAIN}"
        self._stream.write((_ERASE_LINE if self._partial else "") + line + "\n")
        self._stream.flush()
        self._partial = False

    def _show(self, line: str) -> None:
        """Write a line that the next one replaces, where that is possible."""
        if self._stream.isatty():
            columns = shutil.get_terminal_size().columns
            self._stream.write(f"{_ERASE_LINE}{_DIM}{line[: columns - 1]}{_PLAIN}")
            self._stream.flush()
            self._partial = True

    def close(self) -> None:
        """Nothing to do: the stream belongs to the caller."""


def said(event: CommentaryEvent) -> str:
    """Commentary or an answer, for people: "red stops", "answer q1: two"."""
    if event.kind == KIND_COMMENTARY:
        return event.text
    return f"{event.kind} {event.query_id}".rstrip() + f": {event.text or '(no words)'}"


def notice(event: CommentaryEvent) -> str:
    """Why a stream was reset; of a gap what was lost: "4 frames not seen (3 stale, 1 rate)"."""
    if event.kind != KIND_GAP:
        return event.text
    lost = sum(event.frames_dropped.values())
    reasons = ", ".join(f"{frames} {reason}" for reason, frames in event.frames_dropped.items() if frames)
    return f"{lost} frames not seen ({reasons})" if lost else "nothing was seen"


def _printable(text: str) -> str:
    """One line without control characters: a model's words must not steer the terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
