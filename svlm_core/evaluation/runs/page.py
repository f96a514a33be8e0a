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

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
import json
from pathlib import Path
from typing import Any

from svlm_core.evaluation import charts
from svlm_core.evaluation.benchmarks.pictures import picture_path
from svlm_core.evaluation.report import card, footer, page, style
from svlm_core.evaluation.runs.bars import bars
from svlm_core.evaluation.runs.figures import MAIN, Row, rows, words
from svlm_core.evaluation.runs.records import EXCLUDED, Record

MAX_SAMPLES = 120
MAX_EXCLUDED = 200

_CARDS = 4
_FEW, _MANY = 2, 12  # bars of a chart
_HIDDEN = ("id", "clock", "tags", "video", "group", "right", "score", "fifth", "agrees", "seen_until_s")


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
    shown = _samples(records)
    return page("run.html").substitute(
        title=escape(f"svlm eval {result['benchmark']}"),
        subtitle=escape(subtitle(result)),
        style=style(),
        cards="".join(_cards(found, accounting)),
        tables="".join(tables(found)),
        charts="".join(_charts(found, timing, result["run"])),
        excluded_note=escape(_excluded_note(accounting)),
        excluded=_excluded(accounting),
        samples_note=f"{len(shown)} of {accounting['counted']}, mistakes and defeats first.",
        samples="".join(_sample(record, folder) for record in shown),
        provenance=escape(json.dumps({k: result[k] for k in ("run", "versions")}, indent=2)),
        footer=escape(footer()),
    )


def subtitle(result: Mapping[str, Any]) -> str:
    """What was compared and how, in one line."""
    run = result["run"]
    shown = ("path", "model", "policy", "ours", "theirs", "previous", "judge", "data")
    return "; ".join(f"{words(name)}: {run[name]}" for name in shown if run.get(name))


def tables(found: Sequence[Row]) -> Iterable[str]:
    """A table for each group of figures."""
    for title, group in groupby(found, lambda row: row.table):
        lines = "".join(
            f'<tr><td>{escape(row.name)}</td><td class="number">{escape(row.label)}</td>'
            f'<td class="number">{"" if row.n is None else row.n}</td></tr>'
            for row in group
        )
        yield f"<div><h3>{escape(title)}</h3><table>{lines}</table></div>"


def _cards(found: Sequence[Row], accounting: Mapping[str, Any]) -> Iterable[str]:
    for row in [row for row in found if row.table == MAIN and row.value is not None][:_CARDS]:
        share = isinstance(row.value, float) and row.value <= 1
        label = f"{100 * row.value:.1f} %" if share and row.value is not None else row.label
        interval = ""
        if row.low is not None and row.high is not None:
            interval = f", {100 * row.low:.1f} to {100 * row.high:.1f} %"
        yield card(label, row.name + interval)
    yield card(f"{accounting['counted']} of {accounting['items']}", "items counted")


def _charts(found: Sequence[Row], timing: Mapping[str, Any], run: Mapping[str, Any]) -> Iterable[str]:
    for title, group in groupby(found, lambda row: row.table):
        table = list(group)
        shares = all(row.value is None or 0 <= row.value <= 1 for row in table)
        if title != MAIN and shares and any(row.n for row in table) and _FEW <= len(table) <= _MANY:
            yield f"<section><h2>{escape(title)}</h2>{bars(table, title)}</section>"
    chunk_ms = timing["chunk_ms"]
    if chunk_ms:
        chunk_s = run.get("settings", {}).get("chunk_s", 1.0)
        starts_s = [number * chunk_s for number in range(len(chunk_ms))]
        drawn = charts.latency(starts_s, chunk_ms, chunk_s)
        yield f"<section><h2>Time of a chunk, over all streams one after another</h2>{drawn}</section>"


def _excluded_note(accounting: Mapping[str, Any]) -> str:
    if not accounting["excluded"]:
        return "Nothing: every item is in the figures."
    reasons = ", ".join(f"{n} {reason}" for reason, n in accounting["by_reason"].items())
    note = f"{accounting['excluded']} of {accounting['items']} items are in no figure: {reasons}."
    if accounting["excluded"] > MAX_EXCLUDED:
        note += f" The first {MAX_EXCLUDED} are listed; result.json has all."
    return note


def _excluded(accounting: Mapping[str, Any]) -> str:
    rows = [
        [escape(item[name]) for name in ("id", "reason", "details")]
        for item in accounting["list"][:MAX_EXCLUDED]
    ]
    lines = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    return f"<table>{lines}</table>" if lines else ""


def _samples(records: Mapping[str, Record]) -> list[Record]:
    """Counted items, mistakes and defeats first."""
    counted = [record for record in records.values() if EXCLUDED not in record]
    return sorted(counted, key=lambda record: (_worth(record), record["id"]))[:MAX_SAMPLES]


def _worth(record: Record) -> float:
    return float(record["score"] if "score" in record else record.get("right", 0.5))


def _sample(record: Record, folder: Path) -> str:
    worth = _worth(record)
    kind = "right" if worth > 0.5 else "wrong" if worth < 0.5 else "open"
    path = picture_path(folder, record["id"])
    picture = ""
    if path.exists():
        data = b64encode(path.read_bytes()).decode()
        picture = f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{data}">'
    fields = "".join(
        f"<dt>{escape(words(name))}</dt><dd>{escape(_plain(value))}</dd>"
        for name, value in record.items()
        if name not in _HIDDEN and value not in ("", None)
    )
    return f'<div class="sample is-{kind}">{picture}<h3>{escape(record["id"])}</h3><dl>{fields}</dl></div>'


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
