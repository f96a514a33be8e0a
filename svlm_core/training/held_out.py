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

"""Streams the videos of held-out samples, the model living with its own words, and scores what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
import logging
from pathlib import Path
from typing import Any

from svlm_core.config import StreamConfig
from svlm_core.data.footage import footage
from svlm_core.data.sample import Sample
from svlm_core.data.seek_index import SampleFile
from svlm_core.errors import ConfigError, SourceError
from svlm_core.evaluation.commentary.score import score_events
from svlm_core.evaluation.commentary.timed_text import TimedLine
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession

log = logging.getLogger(__name__)

SHOWN = ("timely_recall", "timely_precision", "speaking_precision", "speaking_recall", "repeated_lines")
_AT_ONCE = 24  # rounds whose frames are in memory together
_APART_S = 600.0  # between two stretches on one line of time: nothing of one is matched with the other
_SLACK_S = 1e-6


@dataclass(frozen=True)
class Stretch:
    """Some time of one video without a gap, and what is said in it.

    Attributes:
        video: path.
        start_s: where it begins, seconds from the video's first frame.
        words: what is said in each round, "" for silence.
        previous: what was said before.
        query: what the user asks of the stream.
    """

    video: Path
    start_s: float
    words: tuple[str, ...]
    previous: str = ""
    query: str = ""


def stretches(samples: SampleFile, chunk_s: float, length_s: float) -> list[Stretch]:
    """Samples that overlap or follow each other, as one; the first `length_s` seconds of them all.

    Lines that are no samples are left out by name.
    """

    def broken(number: int, error: SourceError) -> None:
        log.warning("left out of the evaluation: %s", error)

    left, found = round(length_s / chunk_s), []
    for stretch in _joined((sample for _, sample in samples.each(broken)), samples, chunk_s):
        kept = replace(stretch, words=stretch.words[:left])
        left -= len(kept.words)
        found += [kept] if kept.words else []
        if not left:
            break
    return found


def _joined(samples: Iterable[Sample], file: SampleFile, chunk_s: float) -> Iterator[Stretch]:
    now: Stretch | None = None
    for sample in samples:
        video = file.locate(sample)
        words = tuple(turn.words for turn in sample.turns(chunk_s))
        rounds = (sample.start_s - now.start_s) / chunk_s if now else 0.0
        seen = round(rounds)
        whole = abs(rounds - seen) * chunk_s < _SLACK_S
        if now and now.video == video and whole and 0 <= seen <= len(now.words):
            now = replace(now, words=now.words + words[len(now.words) - seen :])
            continue
        if now:
            yield now
        now = Stretch(video, sample.start_s, words, sample.previous, sample.query)
    if now:
        yield now


def evaluate_held_out(
    model: StreamModel, config: StreamConfig, held_out: list[Stretch], progress: Callable[[float], object]
) -> dict[str, Any]:
    """Stream all of them, one behind the other, each from an empty cache.

    Args:
        model: the model.
        config: the stream's settings.
        held_out: what is streamed; a video that cannot be read is left out by name.
        progress: called with the number of seconds streamed.

    Returns:
        The figures of score_events; words are taken as said at the end of their round, however fast this
        machine is.

    Raises:
        ConfigError: not one of the videos can be read.
        MissingPackageError: says what to install.
    """
    said: list[TimedLine] = []
    reference: list[TimedLine] = []
    origin_s = 0.0
    for stretch in held_out:
        try:
            heard = list(_stream(model, config, stretch, progress))
        except SourceError as error:
            log.warning("left out of the evaluation: %s", error)
            continue
        said += _lines(heard, origin_s, config.chunk_s, late=True)
        reference += _lines(stretch.words, origin_s, config.chunk_s, late=False)
        origin_s += len(stretch.words) * config.chunk_s + _APART_S
    if not reference:
        raise ConfigError("held_out: nothing is said in the stretches that can be read")
    figures, _ = score_events(said, reference)
    return figures


def _stream(
    model: StreamModel, config: StreamConfig, stretch: Stretch, progress: Callable[[float], object]
) -> Iterator[str]:
    """What the model says in each round."""
    if stretch.query:
        config = config.replace({"prompt": stretch.query}, str(stretch.video))
    session = StreamSession(model, config, said=stretch.previous)
    chunk_s, rounds = config.chunk_s, len(stretch.words)
    for first in range(0, rounds, _AT_ONCE):
        count = min(_AT_ONCE, rounds - first)
        seen = footage(stretch.video, stretch.start_s + first * chunk_s, count, chunk_s, config.fps)
        for index, pictures in enumerate(seen, start=first):
            stamps = (round((index + k / len(pictures)) * chunk_s * NS_PER_S) for k in range(len(pictures)))
            frames = tuple(Frame(ns, rgb) for ns, rgb in zip(stamps, pictures, strict=True))
            yield session.step(Chunk(index, frames)).text
            progress(chunk_s)


def _lines(words: Iterable[str], origin_s: float, chunk_s: float, late: bool) -> Iterator[TimedLine]:
    """The rounds with words, as timed lines; those of a stream can be read when their round is over."""
    for index, text in enumerate(words):
        start_s = origin_s + index * chunk_s
        end_s = start_s + chunk_s
        if text:
            yield TimedLine(f"{start_s:g} s", start_s, end_s, text, end_s if late else start_s)
