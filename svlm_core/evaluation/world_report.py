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

"""What `svlm eval world --out` writes: figures and times of one stream, or of several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from svlm_core.evaluation.moments import moment_records
from svlm_core.evaluation.rates import curve, part_of_a_curve_s, rates
from svlm_core.evaluation.runs.exclusions import account_streams
from svlm_core.evaluation.runs.outcome import result_of, write_outcome
from svlm_core.evaluation.runs.provenance import machine
from svlm_core.evaluation.sweep import Variant
from svlm_core.evaluation.world import WorldRun
from svlm_core.evaluation.world_page import render_world

STREAMS = "streams"  # of figures and of times, where there are several
_ACROSS = ("event_accuracy", "silence_precision", "silence_recall")
_KINDS = ("memory", "motion", "seen now")
_COUNTS = ("seconds", "cache_tokens_max", "capacity_tokens")
_TIMES = ("chunk_ms_p50", "chunk_ms_p99", "stage_ms_p50", "latency_ratio", "rss_growth_mb")


@dataclass(frozen=True)
class Streamed:
    """What became of one stream.

    Attributes:
        name: unique in its run.
        figures: without a clock in them.
        timing: of the clock.
        stopped: why it ended early, None if it did not.
    """

    name: str
    figures: dict[str, Any]
    timing: dict[str, Any]
    stopped: str | None


def streamed(variant: Variant, run: WorldRun, stopped: str | None, length_s: int, seed: int) -> Streamed:
    """Sum a stream up.

    Args:
        variant: what was streamed.
        run: after its end.
        stopped: why it ended early.
        length_s: how long it should have been: streams of equal length have curves of equal parts.
        seed: of the bootstrap.
    """
    plain, at_s, part_s = run.figures(), np.arange(len(run.tally)), part_of_a_curve_s(length_s)
    figures = {
        **rates(run.tally, at_s, seed),
        "said_after": run.delays.rates,
        **{name: plain[name] for name in _COUNTS},
        "over_time": curve(run.tally, at_s, part_s),
        "settings": variant.settings,
    }
    chunk_ms = run.chunk_ms
    medians = [np.median(chunk_ms[start : start + part_s]) for start in range(0, len(chunk_ms), part_s)]
    timing = {
        **{name: plain[name] for name in _TIMES},
        "over_time": [
            {"from_s": number * part_s, "chunk_ms_p50": round(float(ms), 3)}
            for number, ms in enumerate(medians)
        ],
    }
    return Streamed(variant.name, figures, timing, stopped)


def finish_world(
    folder: Path,
    run: Mapping[str, Any],
    streams: Sequence[Streamed],
    wanted_s: Mapping[str, int],
    device: str,
) -> dict[str, Any]:
    """Write the files.

    Args:
        folder: the run's.
        run: what decided the figures.
        streams: at least one.
        wanted_s: how long each stream of the run should be, those included that were not begun.
        device: torch's, for the times.

    Returns:
        What result.json holds.

    Raises:
        ConfigError: a file cannot be written.
    """
    by_name = {stream.name: stream.figures for stream in streams}
    figures = by_name[streams[0].name] if len(streams) == 1 else side_by_side(by_name)
    seconds = {name: found["seconds"] for name, found in by_name.items()}
    stopped = {stream.name: stream.stopped for stream in streams if stream.stopped}
    accounting = account_streams(seconds, wanted_s, stopped)
    result = result_of({**run, "seconds": max(wanted_s.values())}, figures, accounting, stopped)
    timing = {"machine": machine(device), STREAMS: {stream.name: stream.timing for stream in streams}}
    moments = [r for r in moment_records(folder).read().values() if r["second"] < seconds.get(r["stream"], 0)]
    page = render_world(result, timing, by_name, {moment["id"]: moment for moment in moments}, folder)
    write_outcome(folder, result, timing, page)
    return result


def side_by_side(by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One table for each of the main figures, and under "streams" all figures of each stream."""
    across: dict[str, Any] = {
        figure: {name: found[figure] for name, found in by_name.items()} for figure in _ACROSS
    }
    for kind in _KINDS:
        across[kind] = {name: found["accuracy_by_kind"].get(kind) for name, found in by_name.items()}
    for count in _COUNTS:
        across[count] = {name: found[count] for name, found in by_name.items()}
    return {**across, STREAMS: dict(by_name)}
