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
from dataclasses import asdict, dataclass, replace
import json
import os
from pathlib import Path
import platform
from typing import Any, Protocol

import cv2
import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, SvlmError
from svlm_core.evaluation.score import score
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
import torch

EVENTS, CAPTIONS, VIDEO = "events.jsonl", "captions.vtt", "annotated.mp4"
METRICS, TIMING, REPORT = "metrics.json", "timing.json", "report.html"

THUMBNAIL_PX = 168  # width of the report's pictures
_JPEG_QUALITY = 82


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
        metrics: figures without a clock in them, as in METRICS.
        timing: figures of the clock, as in TIMING.
        error: what broke the recording or the stream; None when it went to its end or was interrupted.
    """

    origin_ns: int
    moments: Sequence[Moment]
    verdicts: Sequence[Verdict]
    metrics: dict[str, Any]
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
    """Stream a recording and write EVENTS, CAPTIONS, VIDEO, METRICS and TIMING into a folder.

    Ctrl-C, a broken recording and a full cache end early; what was understood until then is evaluated.

    Args:
        model: the model.
        config: the stream's settings.
        source: a recorded one.
        truths: what is true of it, in the order of their beginnings; empty to do without accuracy.
        out: an existing folder; files of an earlier evaluation are replaced.
        about: what else METRICS shall say, for example the names of the recording and of the model.
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
                moments.append(Moment(heard, _chunk_ms(run.last), thumbnail(chunk) if shown else b""))
                before, received = received, run.summary().frames_received
                progress.update(received - before)
        except KeyboardInterrupt:
            stopped = "interrupted"
        except SvlmError as reason:
            error, stopped = reason, str(reason)
    if not moments:
        raise error or SvlmError(f"{source.name}: interrupted before its first chunk was understood")
    verdicts, unseen = judge(truths, [moment.heard for moment in moments])
    judged = {"lines": len(truths), "judged": len(verdicts), "unseen": unseen}
    summary = run.summary()
    metrics = {
        **about,
        "camera": source.name,
        "start_ns": source.origin_ns,
        "length_s": round((moments[-1].heard.end_ns - source.origin_ns) / NS_PER_S, 3),
        "stopped": stopped,
        "truth": judged if truths else None,
        **(score([verdict.judged for verdict in verdicts]) if truths else {}),
        "chunks": summary.chunks,
        "silent_chunks": summary.silent_chunks,
        "events": summary.events,
        "frames_received": summary.frames_received,
        "frames_used": summary.frames_used,
        "frames_dropped": summary.frames_dropped,
        "cache_tokens_max": max(result.cache_tokens for result in results),
        "capacity_tokens": session.capacity_tokens,
        "settings": asdict(config),
    }
    timing = {"machine": _machine(model), **_timing(results)}
    write_file(out / METRICS, json.dumps(metrics, indent=2) + "\n")
    write_file(out / TIMING, json.dumps(timing) + "\n")
    return Evaluation(source.origin_ns, moments, verdicts, metrics, timing, error)


def write_file(path: Path, text: str) -> None:
    """Write a text file; ConfigError when that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


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


def thumbnail(chunk: Chunk) -> bytes:
    """The chunk's newest frame as a small JPEG."""
    rgb = chunk.frames[-1].rgb
    scale = THUMBNAIL_PX / rgb.shape[1]
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    size = (THUMBNAIL_PX, max(1, round(rgb.shape[0] * scale)))
    bgr = cv2.cvtColor(cv2.resize(rgb, size, interpolation=smooth), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes()


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


def _machine(model: StreamModel) -> str:
    on_gpu = model.device.type == "cuda"
    device = torch.cuda.get_device_name(model.device) if on_gpu else f"{os.cpu_count()} CPUs"
    return f"{platform.machine()}, {device}, Python {platform.python_version()}, torch {torch.__version__}"


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 3)
