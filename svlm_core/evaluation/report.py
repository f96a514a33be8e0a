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

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from string import Template
from typing import Any

from svlm_core.evaluation import charts
from svlm_core.evaluation.charts import clock
from svlm_core.evaluation.marks import Mark, marks, MISSED, OPEN, RIGHT, WRONG
from svlm_core.evaluation.recording import Evaluation
from svlm_core.frames import NS_PER_S

MAX_PICTURES = 400  # what was wrong comes first; a page of more would be slow to open

_NAMES = {RIGHT: "right", WRONG: "wrong", MISSED: "missed", OPEN: "not judged"}
_BOOT_NS = 1_000_000_000 * NS_PER_S  # stamps below are seconds since a start, not dates
_SETTINGS_COLUMNS = 3


def render_report(evaluation: Evaluation) -> str:
    """The page."""
    metrics, timing = evaluation.metrics, evaluation.timing
    heard = [moment.heard for moment in evaluation.moments]
    shown = marks(heard, evaluation.verdicts)
    with_truth = metrics["truth"] is not None
    pictured = _pictured(shown)
    starts_s = [(chunk.start_ns - evaluation.origin_ns) / NS_PER_S for chunk in heard]
    chunk_s = metrics["settings"]["chunk_s"]
    return page("report.html").substitute(
        style=style(),
        title=escape(f"What was said about {metrics['camera']}"),
        subtitle=escape(_subtitle(metrics)),
        stopped=_stopped(metrics["stopped"]),
        cards="".join(_cards(metrics, timing)),
        legend="".join(_legend(with_truth)),
        timeline=charts.timeline(shown, heard, evaluation.origin_ns, with_truth),
        moments_note=escape(_moments_note(len(shown), len(pictured))),
        filter="".join(_filter(shown)),
        moments="".join(_moment(evaluation, number, shown[number]) for number in pictured),
        latency=charts.latency(starts_s, timing["chunk_ms"], chunk_s),
        latency_note=escape(
            f"Milliseconds of wall time for {chunk_s:g} s of recording, as measured on {timing['machine']}. "
            f"Real time leaves {1000 * chunk_s:g} ms."
        ),
        tables="".join(_tables(metrics, timing)),
        settings="".join(_settings(metrics["settings"])),
        footer=escape(footer()),
    )


def _subtitle(metrics: Mapping[str, Any]) -> str:
    length = f"{clock(metrics['length_s'])} of {metrics['recording']}"
    if metrics["start_ns"] >= _BOOT_NS:
        begun = datetime.fromtimestamp(metrics["start_ns"] / NS_PER_S, timezone.utc)
        length += f", recorded from {begun:%Y-%m-%d %H:%M:%S} UTC"
    policy = metrics["settings"]["policy"]
    return f"{length}; model {metrics['model']}, policy {policy}, evaluated in lock step"


def _stopped(reason: str | None) -> str:
    if reason is None:
        return ""
    return f'<section class="stopped"><h2>Ended early</h2>{escape(reason)}</section>'


def _cards(metrics: Mapping[str, Any], timing: Mapping[str, Any]) -> Iterable[str]:
    if metrics["truth"]:
        right = round((metrics["event_accuracy"] or 0) * metrics["n_events"])
        yield card(_percent(metrics["event_accuracy"]), f"of events right: {right} of {metrics['n_events']}")
        memory = metrics["accuracy_by_kind"].get("memory")
        if memory is not None:
            yield card(_percent(memory), "of memories right")
        yield card(_percent(metrics["silence_precision"]), "of its silences right")
        yield card(_percent(metrics["silence_recall"]), "of quiet moments kept silent")
    else:
        yield card(str(metrics["events"]), "events; no truth was given, so none is judged")
    yield card(f"{timing['chunk_ms_p50']:.1f} ms", f"a chunk, median; p99 {timing['chunk_ms_p99']:.1f} ms")
    yield card(f"{metrics['chunks']}", f"chunks, {metrics['silent_chunks']} of them silent")


def card(figure: str, words: str) -> str:
    """A figure in large letters, and what it is."""
    return f'<div class="card"><b>{escape(figure)}</b><span>{escape(words)}</span></div>'


def _legend(with_truth: bool) -> Iterable[str]:
    entries = [("truth", "what is true (upper lane)")] if with_truth else []
    if with_truth:
        entries += [(RIGHT, "said, right"), (WRONG, "said, wrong"), (MISSED, "true, not said")]
    entries.append((OPEN, "said, not judged"))
    for style, words in entries:
        yield f'<span><i class="{style}"></i>{escape(words)}</span>'
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
    picture = b64encode(moment.jpeg).decode()
    at = clock((moment.heard.start_ns - evaluation.origin_ns) / NS_PER_S)
    truth = {RIGHT: "", OPEN: "", MISSED: f"true: {mark.truth}"}.get(
        mark.status, f"true: {mark.truth}" if mark.truth else "nothing was to be said"
    )
    return (
        f'<div class="moment is-{mark.status}" id="m{number}">'
        f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{picture}">'
        f"<div><time>{at}</time><b>{escape(mark.said or '(silent)')}</b><em>{escape(truth)}</em></div></div>"
    )


def _tables(metrics: Mapping[str, Any], timing: Mapping[str, Any]) -> Iterable[str]:
    if metrics["truth"]:
        truth = metrics["truth"]
        yield _table(
            "Accuracy",
            {
                "events right": _percent(metrics["event_accuracy"]),
                "events judged": metrics["n_events"],
                "silence, precision": _percent(metrics["silence_precision"]),
                "silence, recall": _percent(metrics["silence_recall"]),
                "truths in the file": truth["lines"],
                "sentences no frame shows": truth["unseen"],
            },
        )
        by_kind = {kind: _percent(share) for kind, share in metrics["accuracy_by_kind"].items()}
        if by_kind:
            yield _table("Events right, by kind", by_kind)
        quarters = enumerate(metrics["accuracy_by_quarter"], 1)
        yield _table("Events right, by quarter", {str(number): _percent(share) for number, share in quarters})
        ages = {
            age: f"{_percent(group['accuracy'])} of {group['n']}"
            for age, group in metrics["memory_by_age"].items()
            if group["n"]
        }
        if ages:
            yield _table("Memories right, by age", ages)
    dropped = {f"dropped: {reason}": frames for reason, frames in metrics["frames_dropped"].items()}
    yield _table(
        "Frames", {"received": metrics["frames_received"], "used": metrics["frames_used"], **dropped}
    )
    yield _table(
        "Cache, tokens", {"largest": metrics["cache_tokens_max"], "capacity": metrics["capacity_tokens"]}
    )
    yield _table("Median ms by stage", {stage: f"{ms:.1f}" for stage, ms in timing["stage_ms_p50"].items()})


def _settings(settings: Mapping[str, Any]) -> Iterable[str]:
    rows = list(settings.items())
    height = -(-len(rows) // _SETTINGS_COLUMNS)
    for at in range(0, len(rows), height):
        yield _table("", dict(rows[at : at + height]))


def _table(title: str, rows: Mapping[str, Any]) -> str:
    head = f"<h3>{escape(title)}</h3>" if title else ""
    lines = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<div>{head}<table>{lines}</table></div>"


def _percent(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f} %"


def page(name: str) -> Template:
    """A page of this package, with holes."""
    return Template(files("svlm_core.evaluation").joinpath(name).read_text(encoding="utf-8"))


def style() -> str:
    """What all pages look like."""
    return files("svlm_core.evaluation").joinpath("report.css").read_text(encoding="utf-8")


def footer() -> str:
    """Which svlm made a page."""
    try:
        return f"svlm {version('svlm_ros')}"
    except PackageNotFoundError:  # run from a folder that was never installed
        return "svlm"
