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

"""The page about one stream of the world, or about several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from svlm_core.evaluation.lines import Line, log_lines, share_lines
from svlm_core.evaluation.runs.figures import MISSING, Row, rows, words
from svlm_core.evaluation.runs.page import (
    excluded_section,
    figure_tables,
    percent,
    provenance_section,
    rate_charts,
    samples_section,
    style,
    subtitle,
)
from svlm_core.evaluation.runs.records import Record
from svlm_core.page.document import render_page
from svlm_core.page.parts import cards, section, table, tables

_CURVES = {"events": "events right", "memory": "memories right", "silence": "quiet seconds kept silent"}
_CROSSED = ("accuracy_by_kind", "memory_by_age", "said_after", "accuracy_by_hour", "memory_by_hour")
_NOTE = "In brackets: 95 % bootstrap intervals, parts of 300 s resampled."
_MOMENTS = "The first mistakes of each kind, and the first that were right. Two frames are one second."

_RATES = ("event_accuracy", "silence_precision", "silence_recall")
_MOST_CARDS = 8

Streams = Mapping[str, Mapping[str, Any]]


def render_world(
    result: Mapping[str, Any],
    timing: Mapping[str, Any],
    streams: Streams,
    moments: Mapping[str, Record],
    folder: Path,
) -> str:
    """The page.

    Args:
        result: what result.json holds.
        timing: what timing.json holds.
        streams: all figures of each stream, by name; at least one.
        moments: by id.
        folder: the run's, where their pictures are.
    """
    one = len(streams) == 1
    times = timing["streams"]
    body = [
        cards(_cards(streams, times)),
        *([] if one else [_side_by_side(streams, times)]),
        *sweep_sections(result["run"].get("sweep", {}), streams),
        *over_time_sections(streams, result["stopped"]),
        _latency(times, result["stopped"], timing["machine"]),
        *(rate_charts(rows(result["figures"])) if one else _crossed(streams)),
        *([section("Figures", figure_tables(rows(result["figures"])), _NOTE)] if one else []),
        excluded_section(result["accounting"]),
        samples_section(moments, folder, _MOMENTS),
        provenance_section(result),
    ]
    return render_page(f"svlm eval {result['benchmark']}", subtitle(result), body, style())


def over_time_sections(streams: Streams, stopped: Mapping[str, str]) -> Iterator[str]:
    """Accuracy over time: of one stream all curves in one picture, of several a picture for each curve."""
    drawn = {
        name: {
            key: Line(
                title,
                [point["from_s"] for point in found["over_time"]],
                [point[key] for point in found["over_time"]],
                name in stopped,
            )
            for key, title in _CURVES.items()
        }
        for name, found in streams.items()
    }
    if len(streams) == 1:
        (curves,) = drawn.values()
        yield section("Accuracy over time", share_lines([*curves.values()], "accuracy over time"))
        return
    for key, title in _CURVES.items():
        lines = [curves[key]._replace(name=name) for name, curves in drawn.items()]
        if any(y is not None for line in lines for y in line.ys):
            yield section(f"Over time: {title}", share_lines(lines, title))


def sweep_sections(sweep: Mapping[str, Sequence[Any]], streams: Streams) -> Iterator[str]:
    """What a setting of several numbers does: a line for each combination of the others."""
    for name, values in sweep.items():
        if len(values) < 2 or not all(isinstance(value, int | float) for value in values):
            continue
        for figure, title in (("event_accuracy", "events right"), ("memory", "memories right")):
            lines = _over_setting(name, values, figure, streams)
            if any(y is not None for line in lines for y in line.ys):
                drawn = share_lines(lines, title, label=lambda x: f"{x:g}")
                yield section(f"{title.capitalize()} over {name}", drawn)


def _over_setting(name: str, values: Sequence[float], figure: str, streams: Streams) -> list[Line]:
    found: dict[str, dict[float, float | None]] = {}
    for stream in streams.values():
        settings = dict(stream["settings"])
        value = settings.pop(name)
        others = ", ".join(f"{key} {other}" for key, other in settings.items()) or figure
        rate = stream[figure] if figure in stream else stream["accuracy_by_kind"].get(figure)
        found.setdefault(others, {})[value] = None if rate is None else rate["mean"]
    order = sorted(values)
    return [Line(others, order, [ys.get(x) for x in order]) for others, ys in found.items()]


def _cards(streams: Streams, times: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if len(streams) > 1:
        for name, found in [*streams.items()][:_MOST_CARDS]:
            yield percent(found["event_accuracy"]["mean"]), f"of events right: {name}"
        return
    ((name, found),) = streams.items()
    kinds = found["accuracy_by_kind"]
    yield percent(found["event_accuracy"]["mean"]), f"of {found['event_accuracy']['n']} events right"
    if "memory" in kinds:
        yield percent(kinds["memory"]["mean"]), f"of {kinds['memory']['n']} memories right"
    yield percent(found["silence_precision"]["mean"]), "of its silences right"
    yield percent(found["silence_recall"]["mean"]), "of quiet seconds kept silent"
    yield (
        f"{times[name]['chunk_ms_p50']:.1f} ms",
        f"a chunk, median; p99 {times[name]['chunk_ms_p99']:.1f} ms",
    )
    yield f"{found['seconds']}", "seconds streamed"


def _side_by_side(streams: Streams, times: Mapping[str, Any]) -> str:
    head = ["", "seconds", "events", "memory", "motion", "seen now", "silences right", "kept silent"]
    head += ["in its second", "p50 ms", "p99 ms", "late / early", "cache, tokens"]
    lines = []
    for name, found in streams.items():
        kinds, took = found["accuracy_by_kind"], times[name]
        rates = [found["event_accuracy"], *(kinds.get(kind) for kind in ("memory", "motion", "seen now"))]
        rates += [found["silence_precision"], found["silence_recall"], found["said_after"]["0 s"]]
        shares = [None if rate is None else rate["mean"] for rate in rates]
        lines.append(
            [
                name,
                str(found["seconds"]),
                *(_number(share, 3) for share in shares),
                *(_number(took[key], 1) for key in ("chunk_ms_p50", "chunk_ms_p99")),
                _number(took["latency_ratio"], 2),
                str(found["cache_tokens_max"]),
            ]
        )
    return section("Side by side", tables([table("", head, lines)]))


def _crossed(streams: Streams) -> Iterator[str]:
    """For each group of figures a table with a column for each stream."""
    groups = {"rates": {name: {key: found[key] for key in _RATES} for name, found in streams.items()}}
    for figure in _CROSSED:
        groups[figure] = {name: found.get(figure, {}) for name, found in streams.items()}
    for title, found in groups.items():
        keys = dict.fromkeys(key for each in found.values() for key in each)
        lines = [[words(key), *(_label(each.get(key)) for each in found.values())] for key in keys]
        if lines:
            body = tables([table("", ["", *streams], lines)])
            yield section(words(title).capitalize(), body, _NOTE if title == "rates" else "")


def _latency(times: Mapping[str, Any], stopped: Mapping[str, str], machine: str) -> str:
    lines = [
        Line(
            name,
            [point["from_s"] for point in took["over_time"]],
            [point["chunk_ms_p50"] for point in took["over_time"]],
            name in stopped,
        )
        for name, took in times.items()
    ]
    note = f"Median milliseconds of wall time for a second of video, logarithmic, as measured on {machine}."
    return section("Time of a chunk, over time", log_lines(lines, "time of a chunk over time"), note)


def _label(rate: Mapping[str, Any] | None) -> str:
    if rate is None:
        return MISSING
    return Row("", "", rate["mean"], rate["low"], rate["high"], rate["n"]).label


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
