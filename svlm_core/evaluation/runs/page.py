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

"""One HTML page about a run of any benchmark; it loads nothing and can be mailed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
import json
from pathlib import Path
from typing import Any

from svlm_core.evaluation import charts
from svlm_core.evaluation.bars import bars
from svlm_core.evaluation.benchmarks.pictures import picture_path
from svlm_core.evaluation.runs.figures import MAIN, MISSING, Row, rows, words
from svlm_core.evaluation.runs.records import EXCLUDED, Record
from svlm_core.page.document import render_page, resource
from svlm_core.page.parts import cards, folded, picture, section, table, tables

MAX_SAMPLES = 120
MAX_EXCLUDED = 200

_CARDS = 4
_FEW, _MANY = 2, 26  # bars of a chart
_HIDDEN = (
    *("id", "clock", "tags", "video", "group", "right", "score", "fifth", "agrees", "seen_until_s"),
    *("stream", "second"),
)


def render_run(
    result: Mapping[str, Any], timing: Mapping[str, Any], records: Mapping[str, Record], folder: Path
) -> str:
    """The page.

    Args:
        result: as finish returns it.
        timing: chunk_ms, perhaps empty.
        records: of all items, by id.
        folder: the run's, where its pictures are.
    """
    found, accounting = rows(result["figures"]), result["accounting"]
    note = "In brackets: 95 % bootstrap intervals, whole videos resampled."
    body = [
        cards(_cards(found, accounting)),
        section("Figures", figure_tables(found), note),
        *rate_charts(found),
        *_latency(timing, result["run"]),
        excluded_section(accounting),
        samples_section(records, folder, f"Of {accounting['counted']}, mistakes and defeats first."),
        provenance_section(result),
    ]
    return render_page(f"svlm eval {result['benchmark']}", subtitle(result), body, style())


def style() -> str:
    """What evaluations' pages have beside what all pages have."""
    return resource("svlm_core.evaluation", "report.css")


def subtitle(result: Mapping[str, Any]) -> str:
    """What was compared and how, in one line."""
    run = result["run"]
    shown = ("path", "model", "policy", "ours", "theirs", "previous", "judge", "data", "recording", "world")
    return "; ".join(f"{words(name)}: {run[name]}" for name in shown if run.get(name))


def percent(share: float | None) -> str:
    """A share as a reader wants it."""
    return MISSING if share is None else f"{100 * share:.1f} %"


def figure_tables(found: Sequence[Row]) -> str:
    """A table for each group of figures."""
    return tables(
        table(title, (), [(row.name, row.label, "" if row.n is None else str(row.n)) for row in group])
        for title, group in groupby(found, lambda row: row.table)
    )


def rate_charts(found: Sequence[Row]) -> Iterator[str]:
    """A section with bars for each group of rates."""
    for title, group in groupby(found, lambda row: row.table):
        table = list(group)
        shares = all(row.value is None or 0 <= row.value <= 1 for row in table)
        if title != MAIN and shares and any(row.n for row in table) and _FEW <= len(table) <= _MANY:
            yield section(title[:1].upper() + title[1:], bars(table, title))


def excluded_section(accounting: Mapping[str, Any]) -> str:
    """What is in no figure, and why."""
    items = accounting["list"][:MAX_EXCLUDED]
    lines = [[str(item[name]) for name in ("id", "reason", "details")] for item in items]
    body = tables([table("", (), lines, words=3)]) if lines else ""
    return section("Not counted", body, _excluded_note(accounting))


def samples_section(records: Mapping[str, Record], folder: Path, note: str) -> str:
    """Counted items with their pictures, mistakes and defeats first."""
    counted = [record for record in records.values() if EXCLUDED not in record]
    shown = sorted(counted, key=lambda record: (_worth(record), record["id"]))[:MAX_SAMPLES]
    body = f'<div class="samples">{"".join(_sample(record, folder) for record in shown)}</div>'
    return section("Samples", body, f"{len(shown)} are shown. {note}")


def provenance_section(result: Mapping[str, Any]) -> str:
    """All that is needed to run the same again."""
    text = json.dumps({key: result[key] for key in ("run", "versions")}, indent=2, ensure_ascii=False)
    return folded("To run the same again", f"<pre>{escape(text)}</pre>")


def _cards(found: Sequence[Row], accounting: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for row in [row for row in found if row.table == MAIN and row.value is not None][:_CARDS]:
        share = isinstance(row.value, float) and row.value <= 1
        interval = ""
        if row.low is not None and row.high is not None:
            interval = f", {100 * row.low:.1f} to {100 * row.high:.1f} %"
        yield percent(row.value) if share else row.label, row.name + interval
    yield f"{accounting['counted']} of {accounting['items']}", "items counted"


def _latency(timing: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    chunk_ms = timing["chunk_ms"]
    if chunk_ms:
        chunk_s = run.get("settings", {}).get("chunk_s", 1.0)
        starts_s = [number * chunk_s for number in range(len(chunk_ms))]
        drawn = charts.latency(starts_s, chunk_ms, chunk_s)
        yield section("Time of a chunk, over all streams one after another", drawn)


def _excluded_note(accounting: Mapping[str, Any]) -> str:
    if not accounting["excluded"]:
        return "Nothing: every item is in the figures."
    reasons = ", ".join(f"{n} {reason}" for reason, n in accounting["by_reason"].items())
    note = f"{accounting['excluded']} of {accounting['items']} items are in no figure: {reasons}."
    if accounting["excluded"] > MAX_EXCLUDED:
        note += f" The first {MAX_EXCLUDED} are listed; result.json has all."
    return note


def _worth(record: Record) -> float:
    return float(record["score"] if "score" in record else record.get("right", 0.5))


def _sample(record: Record, folder: Path) -> str:
    worth = _worth(record)
    kind = "right" if worth > 0.5 else "wrong" if worth < 0.5 else "open"
    path = picture_path(folder, record["id"])
    shown = picture(path.read_bytes()) if path.exists() else ""
    fields = "".join(
        f"<dt>{escape(words(name))}</dt><dd>{escape(_plain(value))}</dd>"
        for name, value in record.items()
        if name not in _HIDDEN and value not in ("", None)
    )
    return f'<div class="sample is-{kind}">{shown}<h3>{escape(record["id"])}</h3><dl>{fields}</dl></div>'


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
