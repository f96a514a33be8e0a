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

"""Two runs of one benchmark side by side: as text, and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
import json
from pathlib import Path
from typing import Any, NamedTuple

from svlm_core.errors import ConfigError
from svlm_core.evaluation.runs.figures import Row, rows
from svlm_core.evaluation.runs.outcome import RESULT
from svlm_core.evaluation.runs.page import style, subtitle
from svlm_core.evaluation.world_page import over_time_sections
from svlm_core.page.document import render_page
from svlm_core.page.parts import cards, folded, section, table, tables


class Pair(NamedTuple):
    """One figure of both runs; None where a run lacks it."""

    a: Row | None
    b: Row | None

    @property
    def row(self) -> Row:
        """Whichever there is."""
        row = self.a or self.b
        assert row is not None
        return row

    @property
    def difference(self) -> str:
        """B minus A, marked where the intervals do not touch."""
        a, b = self.a, self.b
        if a is None or b is None or a.value is None or b.value is None:
            return ""
        text = (
            f"{b.value - a.value:+.3f}" if isinstance(b.value - a.value, float) else f"{b.value - a.value:+d}"
        )
        if None in (a.low, a.high, b.low, b.high):
            return text
        apart = (b.low or 0) > (a.high or 0) or (a.low or 0) > (b.high or 0)
        return f"{text} *" if apart else text


def read_result(path: Path) -> dict[str, Any]:
    """Read a run's folder, or its result.json.

    Raises:
        ConfigError: it is none.
    """
    file = path / RESULT if path.is_dir() else path
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); is the run finished?") from error
    except ValueError as error:
        raise ConfigError(f"{file}: not JSON ({error})") from error
    if not isinstance(result, dict) or not {"benchmark", "figures", "accounting", "run"} <= set(result):
        raise ConfigError(f"{file}: not the result of an svlm eval run")
    return result


def pair_up(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Pair]:
    """The figures of two runs, those of A first.

    Raises:
        ConfigError: they are of different benchmarks.
    """
    if a["benchmark"] != b["benchmark"]:
        raise ConfigError(f"a run of {a['benchmark']} cannot be compared with one of {b['benchmark']}")
    keyed_a = {(row.table, row.name): row for row in rows(a["figures"])}
    keyed_b = {(row.table, row.name): row for row in rows(b["figures"])}
    return [
        Pair(keyed_a.get(key), keyed_b.get(key)) for key in [*keyed_a, *(keyed_b.keys() - keyed_a.keys())]
    ]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What else the runs differ in: settings, data, versions; one line each."""
    flat_a, flat_b = (
        _flat({k: a.get(k) for k in ("run", "versions")}),
        _flat({k: b.get(k) for k in ("run", "versions")}),
    )
    names = sorted({*flat_a, *flat_b})
    return [f"{n}: {flat_a.get(n)} | {flat_b.get(n)}" for n in names if flat_a.get(n) != flat_b.get(n)]


def compare_text(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """A table for the terminal; * marks intervals that do not touch."""
    lines = [("", "A", "B", "B - A")]
    for pair in pair_up(a, b):
        lines.append((f"{pair.row.table}: {pair.row.name}", _label(pair.a), _label(pair.b), pair.difference))
    for name in ("counted", "excluded"):
        counts = a["accounting"][name], b["accounting"][name]
        lines.append((f"items {name}", str(counts[0]), str(counts[1]), f"{counts[1] - counts[0]:+d}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([*table, *(f"differs: {line}" for line in differences(a, b))])


def compare_page(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """The same as a page that loads nothing."""
    found = pair_up(a, b)
    lines = [(p.row.table, p.row.name, _label(p.a), _label(p.b), p.difference) for p in found]
    head = ("", "", "A", "B", "B - A (* intervals apart)")
    accounting = "; ".join(
        f"{name}: {run['accounting']['excluded']} of {run['accounting']['items']} items excluded"
        for name, run in (("A", a), ("B", b))
    )
    others = "\n".join(differences(a, b)) or "no other difference"
    body = [
        cards((("A", subtitle(a)), ("B", subtitle(b)))),
        section("Figures", tables([table("", head, lines, words=2)]), accounting),
        *over_time(a, b),
        folded("What else they differ in", f"<pre>{escape(others)}</pre>"),
    ]
    title = f"svlm eval {a['benchmark']}: two runs"
    return render_page(title, f"A: {subtitle(a)}. B: {subtitle(b)}", body, style())


def over_time(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Both runs' accuracy over time, where each of them is of one stream."""
    streams = {name: run["figures"] for name, run in (("A", a), ("B", b)) if "over_time" in run["figures"]}
    stopped = {name: "" for name, run in (("A", a), ("B", b)) if run.get("stopped")}
    if len(streams) == len("AB"):
        yield from over_time_sections(streams, stopped)


def _label(row: Row | None) -> str:
    return "" if row is None else row.label


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        return {k: v for key in value for k, v in _flat(value[key], f"{name}.{key}".lstrip(".")).items()}
    return {name: json.dumps(value)}
