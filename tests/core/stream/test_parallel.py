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

"""Several sources on one engine: each is told about as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_stream import frame_at, small_config
from svlm_core.errors import SourceError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.sources.source import Source
from svlm_core.stream.engine import Engine
from svlm_core.stream.parallel import ParallelRuns
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import StreamSession

CONFIG = small_config()


class Noise(Source):
    """A recorded camera of some frames, which may break at its end."""

    live = False

    def __init__(self, number: int, frames: int, breaks: bool = False) -> None:
        self.name = f"noise {number}"
        self._first, self._frames, self._breaks = 1000 * number, frames, breaks

    def __iter__(self) -> Iterator[Frame]:
        for k in range(self._frames):
            yield Frame(frame_at(k).stamp_ns, frame_at(self._first + k).rgb, self.name)
        if self._breaks:
            raise SourceError(f"{self.name} broke")

    def close(self) -> None:
        pass


def told(events: list[CommentaryEvent]) -> list[tuple[str, int, str, int]]:
    return [(event.camera, event.seq, event.text, event.stamp_newest_ns) for event in events]


def alone(model: StreamModel, source: Source) -> list[CommentaryEvent]:
    events: list[CommentaryEvent] = []
    run = StreamRun(source, StreamSession(model, CONFIG))
    try:
        for _, given in run:
            events += given
    except SourceError:
        pass
    return events


def test_each_source_is_told_about_as_if_it_were_alone(small_model: StreamModel) -> None:
    lengths = [12, 5, 8]
    ended: list[int] = []
    events: list[list[CommentaryEvent]] = [[], [], []]
    with Engine(small_model) as engine:
        runs = [StreamRun(Noise(n, frames), engine.open(CONFIG)) for n, frames in enumerate(lengths)]
        for number, (_, given) in ParallelRuns(runs, ended.append):
            events[number] += given
    assert sorted(ended) == [0, 1, 2]
    for number, frames in enumerate(lengths):
        assert told(events[number]) == told(alone(small_model, Noise(number, frames))) != []
        summary = runs[number].summary()
        assert summary.frames_received == summary.frames_used == frames


def test_a_source_that_breaks_ends_alone(small_model: StreamModel) -> None:
    events: list[list[CommentaryEvent]] = [[], []]
    with Engine(small_model) as engine:
        sources = [Noise(0, 6, breaks=True), Noise(1, 12)]
        parallel = ParallelRuns([StreamRun(source, engine.open(CONFIG)) for source in sources])
        for number, (_, given) in parallel:
            events[number] += given
    assert {number: str(error) for number, error in parallel.errors.items()} == {0: "noise 0 broke"}
    for number, source in enumerate([Noise(0, 6, breaks=True), Noise(1, 12)]):
        assert told(events[number]) == told(alone(small_model, source)) != []


def test_an_error_that_is_no_users_is_raised(small_model: StreamModel) -> None:
    class Broken(Noise):
        """Breaks at its end."""

        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            raise ZeroDivisionError

    with Engine(small_model) as engine, pytest.raises(ZeroDivisionError):
        for _ in ParallelRuns([StreamRun(Broken(0, 2), engine.open(CONFIG))]):
            pass
