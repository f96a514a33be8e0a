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

"""Streams a recording in lock step: every chunk waits for the model, and no clock enters what is written.

Two runs on one machine write the same bytes, whatever else the machine does. What was measured with a clock
is kept apart: in timing.json and in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.errors import SvlmError
from svlm_core.evaluation.delays import recorded_delays
from svlm_core.evaluation.rates import curve, part_of_a_curve_s, rates
from svlm_core.evaluation.runs.outcome import result_of
from svlm_core.evaluation.runs.provenance import machine
from svlm_core.evaluation.score import Tally
from svlm_core.evaluation.thumbnail import thumbnail
from svlm_core.evaluation.truth import Heard, judge, Truth, Verdict
from svlm_core.events import CommentaryEvent, KIND_COMMENTARY
from svlm_core.frames import Chunk, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.sinks.jsonl import JsonLines
from svlm_core.sinks.video import AnnotatedVideo
from svlm_core.sinks.webvtt import WebVtt
from svlm_core.sources.source import Source
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import StreamSession

EVENTS, CAPTIONS, VIDEO = "events.jsonl", "captions.vtt", "annotated.mp4"
BENCHMARK = "bag"
BOOTSTRAP_SEED = 0
UNSEEN = "no frame shows it"


class Progress(Protocol):
    """What is used of a progress bar."""

    def update(self, n: int = 1) -> object:
        """Go on by n."""


@dataclass(frozen=True)
class Moment:
    """One chunk.

    Attributes:
        heard: what was said about it.
        chunk_ms: wall time of the model's work, milliseconds.
        jpeg: its newest frame, small; empty where nothing was said and nothing is true.
    """

    heard: Heard
    chunk_ms: float
    jpeg: bytes = b""


@dataclass(frozen=True)
class Evaluation:
    """What became of a recording.

    Attributes:
        origin_ns: stamp of its first picture.
        moments: its chunks, oldest first.
        verdicts: what was said against what is true; empty without a truth.
        result: as in RESULT: figures without a clock in them, and what decided them.
        timing: figures of the clock, as in TIMING.
        error: what broke the recording or the stream; None when it went to its end or was interrupted.
    """

    origin_ns: int
    moments: Sequence[Moment]
    verdicts: Sequence[Verdict]
    result: dict[str, Any]
    timing: dict[str, Any]
    error: SvlmError | None


def evaluate_recording(
    model: StreamModel,
    config: StreamConfig,
    source: Source,
    truths: Sequence[Truth],
    out: Path,
    about: Mapping[str, Any],
    progress: Progress,
) -> Evaluation:
    """Stream a recording and write EVENTS, CAPTIONS and VIDEO into a folder.

    Ctrl-C, a broken recording and a full cache end early; what was understood until then is evaluated.

    Args:
        model: the model.
        config: the stream's settings.
        source: a recorded one.
        truths: what is true of it, in the order of their beginnings; empty to do without accuracy.
        out: an existing folder; files of an earlier evaluation are replaced.
        about: what else decided the figures, for example the names and hashes of recording and model.
        progress: shows frames.

    Raises:
        SvlmError: a file cannot be written, or nothing at all was understood.
    """
    session = StreamSession(model, config)
    run = StreamRun(source, session)
    sentences = _Sentences(truths)
    results: list[ChunkResult] = []
    moments: list[Moment] = []
    error: SvlmError | None = None
    stopped: str | None = None
    received = 0
    with _Files(out, source.origin_ns, config.fps) as files:
        try:
            for chunk, said in run:
                events = [replace(event, latency_ms=0.0) for event in said]  # a clock's: it goes into TIMING
                files.write(chunk, events)
                heard = _heard(chunk, events, source.origin_ns, config.chunk_s)
                assert run.last is not None
                results.append(run.last)
                shown = heard.text or sentences.about(heard)
                moments.append(
                    Moment(heard, _chunk_ms(run.last), thumbnail(chunk.frames[-1].rgb) if shown else b"")
                )
                before, received = received, run.summary().frames_received
                progress.update(received - before)
        except KeyboardInterrupt:
            stopped = "interrupted"
        except SvlmError as reason:
            error, stopped = reason, str(reason)
    if not moments:
        raise error or SvlmError(f"{source.name}: interrupted before its first chunk was understood")
    heard_all = [moment.heard for moment in moments]
    verdicts, unseen = judge(truths, heard_all)
    summary = run.summary()
    recorded = {
        "camera": source.name,
        "start_ns": source.origin_ns,
        "length_s": round((heard_all[-1].end_ns - source.origin_ns) / NS_PER_S, 3),
    }
    figures = {
        **(judged_figures(truths, heard_all, verdicts, source.origin_ns) if truths else {}),
        "events": summary.events,
        "chunks": summary.chunks,
        "silent_chunks": summary.silent_chunks,
        "frames_received": summary.frames_received,
        "frames_used": summary.frames_used,
        "frames_dropped": summary.frames_dropped,
        "cache_tokens_max": max(result.cache_tokens for result in results),
        "capacity_tokens": session.capacity_tokens,
    }
    described = {"benchmark": BENCHMARK, **about, **recorded, "bootstrap_seed": BOOTSTRAP_SEED}
    accounting = _account(len(truths), len(verdicts), unseen)
    result = result_of(described, figures, accounting, {source.name: stopped} if stopped else {})
    timing = {"machine": machine(str(model.device)), **_timing(results)}
    return Evaluation(source.origin_ns, moments, verdicts, result, timing, error)


def judged_figures(
    truths: Sequence[Truth], heard: Sequence[Heard], verdicts: Sequence[Verdict], origin_ns: int
) -> dict[str, Any]:
    """Rates with intervals, delays, and accuracy over time; of a recording that has a truth."""
    tally = Tally.of(verdict.judged for verdict in verdicts)
    starts = [max(0, verdict.start_ns - origin_ns) // NS_PER_S for verdict in verdicts]
    at_s = np.array(starts, np.int64)
    part_s = part_of_a_curve_s((heard[-1].end_ns - origin_ns) / NS_PER_S)
    return {
        **rates(tally, at_s, BOOTSTRAP_SEED),
        "said_after": recorded_delays(truths, heard).rates,
        "over_time": curve(tally, at_s, part_s),
    }


def _account(lines: int, judged: int, unseen: int) -> dict[str, Any]:
    """What was judged, and the sentences that no frame shows."""
    return {
        "items": judged + unseen,
        "counted": judged,
        "excluded": unseen,
        "share_excluded": round(unseen / (judged + unseen), 6) if unseen else 0.0,
        "by_reason": {UNSEEN: unseen} if unseen else {},
        "list": [{"id": f"{unseen} of {lines} lines", "reason": UNSEEN, "details": ""}] if unseen else [],
    }


class _Files(ExitStack):
    """What is written as the stream goes on."""

    def __init__(self, out: Path, origin_ns: int, fps: float) -> None:
        super().__init__()
        self._sinks = [
            self.enter_context(JsonLines(out / EVENTS)),
            self.enter_context(WebVtt(out / CAPTIONS, origin_ns=origin_ns)),
        ]
        self._video = self.enter_context(AnnotatedVideo(out / VIDEO, fps))

    def write(self, chunk: Chunk, events: list[CommentaryEvent]) -> None:
        """Take one chunk and what was said about it."""
        for event in events:
            for sink in self._sinks:
                sink.write(event)
        self._video.chunk(chunk, events)


class _Sentences:
    """Whether anything is to be said about a chunk; asked about chunks in the order of time."""

    def __init__(self, truths: Sequence[Truth]) -> None:
        self._truths = [truth for truth in truths if truth.sentence]
        self._begun = 0
        self._until_ns = 0  # the latest end of all that have begun

    def about(self, heard: Heard) -> bool:
        """Whether a true sentence overlaps the chunk."""
        while self._begun < len(self._truths) and self._truths[self._begun].start_ns < heard.end_ns:
            self._until_ns = max(self._until_ns, self._truths[self._begun].end_ns)
            self._begun += 1
        return self._until_ns > heard.start_ns


def _heard(chunk: Chunk, events: Sequence[CommentaryEvent], origin_ns: int, chunk_s: float) -> Heard:
    chunk_ns = round(chunk_s * NS_PER_S)
    words = " ".join(event.text for event in events if event.kind == KIND_COMMENTARY)
    return Heard(origin_ns + chunk.index * chunk_ns, origin_ns + (chunk.index + 1) * chunk_ns, words)


def _chunk_ms(result: ChunkResult) -> float:
    return sum(result.stage_ms.values())


def _timing(results: Sequence[ChunkResult]) -> dict[str, Any]:
    chunk_ms = [_chunk_ms(result) for result in results]
    names = dict.fromkeys(stage for result in results for stage in result.stage_ms)
    stages = {name: [result.stage_ms.get(name, 0.0) for result in results] for name in names}
    return {
        "chunk_ms_p50": _percentile(chunk_ms, 50),
        "chunk_ms_p99": _percentile(chunk_ms, 99),
        "stage_ms_p50": {stage: _percentile(ms, 50) for stage, ms in stages.items()},
        "chunk_ms": [round(ms, 3) for ms in chunk_ms],
    }


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 3)
