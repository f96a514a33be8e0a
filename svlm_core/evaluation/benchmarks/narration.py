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

"""What a side said about a stretch of video, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from svlm_core.config import StreamConfig
from svlm_core.evaluation.benchmarks.reading import field as field_of
from svlm_core.evaluation.benchmarks.reading import MalformedError, seconds
from svlm_core.evaluation.recording import Progress
from svlm_core.events import CommentaryEvent
from svlm_core.model.adapter import StreamModel
from svlm_core.sources.source import Source
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import StreamSession


@dataclass(frozen=True)
class Spoken:
    """Words, and the chunk they are about, seconds of the video."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Narration:
    """All that was said about a stretch.

    Attributes:
        start_s: where the stretch begins, seconds of the video.
        end_s: how far it was understood.
        spoken: in the order of time.
        chunk_ms: wall time of each chunk, milliseconds; empty where it was not measured.
        stopped: why it ends before the stretch does, "" where it does not.
    """

    start_s: float
    end_s: float
    spoken: Sequence[Spoken]
    chunk_ms: Sequence[float] = field(default=())
    stopped: str = ""

    def covers(self, start_s: float, end_s: float, tolerance_s: float) -> bool:
        """Whether all of a segment was understood, but for a tolerance at either end."""
        return self.start_s <= start_s + tolerance_s and end_s <= self.end_s + tolerance_s

    def words(self, start_s: float, end_s: float) -> str:
        """What was said about a segment: words whose chunk ends in (start_s, end_s]."""
        return " ".join(spoken.text for spoken in self.spoken if start_s < spoken.end_s <= end_s)


class Side(Protocol):
    """Somebody who comments on videos."""

    name: str

    def narrate(
        self, source: Source, start_s: float, prompt: str, previous: str, progress: Progress
    ) -> Narration:
        """Comment on a source.

        Args:
            source: a stretch of a video; its stamps count from the stretch's beginning.
            start_s: where that is in the video, seconds.
            prompt: what is asked of the commentary.
            previous: what was said before, "" for nothing.
            progress: shows seconds.

        Raises:
            SvlmError: nothing at all could be said.
        """
        ...


class ModelSide:
    """A model under a policy, through the engine's own chunk loop."""

    def __init__(self, name: str, model: StreamModel, config: StreamConfig) -> None:
        self.name = name
        self._model, self._config = model, config

    def narrate(
        self, source: Source, start_s: float, prompt: str, previous: str, progress: Progress
    ) -> Narration:
        """As Side.narrate."""
        fields = {"previous_text": previous, "prompt": self._config.prompt or prompt}
        config = self._config.replace(fields, self.name)
        run = StreamRun(source, StreamSession(self._model, config))
        spoken, chunk_ms, end_s, before = [], [], start_s, 0
        for chunk, events in run:
            begin_s = start_s + chunk.index * config.chunk_s
            end_s = round(begin_s + config.chunk_s, 6)
            words = _words(events)
            if words:
                spoken.append(Spoken(round(begin_s, 6), end_s, words))
            assert run.last is not None
            chunk_ms.append(sum(run.last.stage_ms.values()))
            seconds_done = int(end_s - start_s)
            progress.update(seconds_done - before)
            before = seconds_done
        return Narration(start_s, end_s, spoken, chunk_ms)


def to_json(video: str, narration: Narration, previous: str) -> dict[str, Any]:
    """A line of a predictions file, in the form of the published harness, with what it leaves out.

    Args:
        video: the stretch's name.
        narration: what was said.
        previous: which previous text it was given: none, generated or truth.
    """
    return {
        "video": video,
        "chunk_start": narration.start_s,
        "chunk_end": narration.end_s,
        "previous": previous,
        "items": [
            {"start_time": spoken.start_s, "end_time": spoken.end_s, "text": spoken.text}
            for spoken in narration.spoken
        ],
    }


def from_json(line: dict[str, Any]) -> Narration:
    """Read what to_json, the published harness or LiveCC's wrote.

    Raises:
        MalformedError: a field is missing or wrong.
    """
    if "pred" in line:  # LiveCC: one text for one event
        start_s, end_s = seconds(line.get("begin"), "begin"), seconds(line.get("end"), "end")
        text = line["pred"]
        if not isinstance(text, str):
            raise MalformedError(f'"pred" is {type(text).__name__}')
        return Narration(start_s, end_s, [Spoken(start_s, end_s, text.strip())] if text.strip() else [])
    start_s, end_s = (
        seconds(line.get("chunk_start"), "chunk_start"),
        seconds(line.get("chunk_end"), "chunk_end"),
    )
    spoken = []
    for item in field_of(line, "items", list):
        text = item.get("text", item.get("response"))
        if not isinstance(text, str):
            raise MalformedError('an item has neither "text" nor "response"')
        until_s = seconds(item.get("end_time"), "end_time")
        if until_s > end_s + 1:
            raise MalformedError(f"an item ends at {until_s:g}, after chunk_end {end_s:g}; mixed time units?")
        if text.strip():
            spoken.append(
                Spoken(seconds(item.get("start_time", max(start_s, until_s - 1))), until_s, text.strip())
            )
    return Narration(start_s, end_s, sorted(spoken, key=lambda words: words.end_s))


def _words(events: Sequence[CommentaryEvent]) -> str:
    return " ".join(event.words for event in events if event.words)
