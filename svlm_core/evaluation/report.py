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

"""One HTML page about an evaluated recording, with everything in it: it loads nothing and can be mailed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from html import escape
from typing import Any

from svlm_core.evaluation import charts
from svlm_core.evaluation.marks import Mark, marks, MISSED, OPEN, RIGHT, WRONG
from svlm_core.evaluation.recording import Evaluation
from svlm_core.evaluation.runs.figures import rows
from svlm_core.evaluation.runs.page import (
    excluded_section,
    figure_tables,
    percent,
    provenance_section,
    rate_charts,
    style,
)
from svlm_core.evaluation.svg import clock
from svlm_core.evaluation.world_page import over_time_sections
from svlm_core.frames import NS_PER_S
from svlm_core.page.document import render_page, resource
from svlm_core.page.parts import cards, names_and_values, picture, section, tables, warning

MAX_PICTURES = 400  # what was wrong comes first; a page of more would be slow to open

_NAMES = {RIGHT: "right", WRONG: "wrong", MISSED: "missed", OPEN: "not judged"}
_BOOT_NS = 1_000_000_000 * NS_PER_S  # stamps below are seconds since a start, not dates
_NOTE = "In brackets: 95 % bootstrap intervals, parts of 300 s resampled; of shorter recordings, judgements."


def render_report(evaluation: Evaluation) -> str:
    """The page."""
    result, timing = evaluation.result, evaluation.timing
    run, figures = result["run"], result["figures"]
    heard = [moment.heard for moment in evaluation.moments]
    shown = marks(heard, evaluation.verdicts)
    with_truth = "event_accuracy" in figures
    pictured = _pictured(shown)
    starts_s = [(chunk.start_ns - evaluation.origin_ns) / NS_PER_S for chunk in heard]
    chunk_s = run["settings"]["chunk_s"]
    timeline = charts.timeline(shown, heard, evaluation.origin_ns, with_truth)
    latency_note = (
        f"Milliseconds of wall time for {chunk_s:g} s of recording, as measured on {timing['machine']}. "
        f"Real time leaves {1000 * chunk_s:g} ms."
    )
    stages = {stage: f"{ms:.1f}" for stage, ms in timing["stage_ms_p50"].items()}
    moments = "".join(_moment(evaluation, number, shown[number]) for number in pictured)
    body = [
        *(warning("Ended early", reason) for reason in result["stopped"].values()),
        cards(_cards(figures, timing)),
        section("Timeline", f'<div class="legend">{"".join(_legend(with_truth))}</div>\n{timeline}'),
        section("Time of a chunk", charts.latency(starts_s, timing["chunk_ms"], chunk_s), latency_note),
        *(over_time_sections({run["camera"]: figures}, result["stopped"]) if with_truth else ()),
        *rate_charts(rows(figures)),
        section(
            "Figures",
            figure_tables(rows(figures)) + tables([names_and_values("Median ms by stage", stages)]),
            _NOTE if with_truth else "",
        ),
        *([excluded_section(result["accounting"])] if with_truth else ()),
        section(
            "Moments",
            f'<div class="filter">{"".join(_filter(shown))}</div>\n<div class="moments">{moments}</div>',
            _moments_note(len(shown), len(pictured)),
        ),
        provenance_section(result),
    ]
    title = f"What was said about {run['camera']}"
    return render_page(title, _subtitle(run), body, style(), resource("svlm_core.evaluation", "moments.js"))


def _subtitle(run: Mapping[str, Any]) -> str:
    length = f"{clock(run['length_s'])} of {run['recording']}"
    if run["start_ns"] >= _BOOT_NS:
        begun = datetime.fromtimestamp(run["start_ns"] / NS_PER_S, timezone.utc)
        length += f", recorded from {begun:%Y-%m-%d %H:%M:%S} UTC"
    return f"{length}; model {run['model']}, policy {run['policy']}, evaluated in lock step"


def _cards(figures: Mapping[str, Any], timing: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if "event_accuracy" in figures:
        events = figures["event_accuracy"]
        right = round((events["mean"] or 0) * events["n"])
        yield percent(events["mean"]), f"of events right: {right} of {events['n']}"
        memory = figures["accuracy_by_kind"].get("memory")
        if memory is not None:
            yield percent(memory["mean"]), "of memories right"
        yield percent(figures["silence_precision"]["mean"]), "of its silences right"
        yield percent(figures["silence_recall"]["mean"]), "of quiet moments kept silent"
    else:
        yield str(figures["events"]), "events; no truth was given, so none is judged"
    yield f"{timing['chunk_ms_p50']:.1f} ms", f"a chunk, median; p99 {timing['chunk_ms_p99']:.1f} ms"
    yield f"{figures['chunks']}", f"chunks, {figures['silent_chunks']} of them silent"


def _legend(with_truth: bool) -> Iterable[str]:
    entries = [("truth", "what is true (upper lane)")] if with_truth else []
    if with_truth:
        entries += [(RIGHT, "said, right"), (WRONG, "said, wrong"), (MISSED, "true, not said")]
    entries.append((OPEN, "said, not judged"))
    for kind, words in entries:
        yield f'<span><i class="{kind}"></i>{escape(words)}</span>'
    yield "<span>a click leads to the picture</span>"


def _pictured(shown: list[Mark]) -> list[int]:
    """Positions of the marks that get a picture: mistakes first, then as many others as there is room."""
    order = sorted(range(len(shown)), key=lambda i: (shown[i].status == RIGHT, i))
    return sorted(order[:MAX_PICTURES])


def _moments_note(marks_shown: int, pictures: int) -> str:
    note = "The newest frame of each chunk about which something was said, or should have been."
    if pictures < marks_shown:
        note += f" {pictures} of {marks_shown} are shown, mistakes first."
    return note


def _filter(shown: list[Mark]) -> Iterable[str]:
    yield f'<button value="" aria-pressed="true">all {len(shown)}</button>'
    for status, name in _NAMES.items():
        count = sum(mark.status == status for mark in shown)
        if count:
            yield f'<button value="{status}" aria-pressed="false">{name} {count}</button>'


def _moment(evaluation: Evaluation, number: int, mark: Mark) -> str:
    moment = evaluation.moments[mark.chunk]
    at = clock((moment.heard.start_ns - evaluation.origin_ns) / NS_PER_S)
    truth = {RIGHT: "", OPEN: "", MISSED: f"true: {mark.truth}"}.get(
        mark.status, f"true: {mark.truth}" if mark.truth else "nothing was to be said"
    )
    return (
        f'<div class="moment is-{mark.status}" id="m{number}">'
        f"{picture(moment.jpeg)}<div><time>{at}</time>"
        f"<b>{escape(mark.said or '(silent)')}</b><em>{escape(truth)}</em></div></div>"
    )
