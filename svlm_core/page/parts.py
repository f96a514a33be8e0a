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

"""What pages are put together from: sections, cards, tables, pictures, as HTML text."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def section(title: str, body: str, note: str = "") -> str:
    """A part of the page with a heading; title and note are plain text."""
    words = f'<p class="soft">{escape(note)}</p>\n' if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{words}{body}\n</section>"


def folded(title: str, body: str) -> str:
    """A section that opens with a click."""
    return f"<section>\n<details><summary>{escape(title)}</summary>\n{body}\n</details>\n</section>"


def warning(title: str, words: str) -> str:
    """A section that nobody overlooks."""
    return f'<section class="stopped"><h2>{escape(title)}</h2>{escape(words)}</section>'


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """Figures in large letters, and what each of them is."""
    each = (f'<div class="card"><b>{escape(f)}</b><span>{escape(words)}</span></div>' for f, words in figures)
    return f'<div class="cards">{"".join(each)}</div>'


def names_and_values(title: str, rows: Mapping[str, Any]) -> str:
    """A small table of names and values."""
    return table(title, (), [(name, str(value)) for name, value in rows.items()])


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table.

    Args:
        title: above it, "" for none.
        head: of the columns, empty for none.
        rows: plain text.
        words: so many columns from the left are words, the others numbers.
    """
    above = f"<h3>{escape(title)}</h3>" if title else ""
    names = "".join(f"<th{_number(i >= words)}>{escape(name)}</th>" for i, name in enumerate(head))
    lines = "".join(
        f"<tr>{''.join(f'<td{_number(i >= words)}>{escape(cell)}</td>' for i, cell in enumerate(row))}</tr>"
        for row in rows
    )
    return f"<div>{above}<table>{f'<tr>{names}</tr>' if names else ''}{lines}</table></div>"


def tables(each: Iterable[str]) -> str:
    """Tables side by side."""
    return f'<div class="tables">{"".join(each)}</div>'


def picture(jpeg: bytes) -> str:
    """A JPEG as part of the page."""
    return f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{b64encode(jpeg).decode()}">'


def _number(is_one: bool) -> str:
    return ' class="number"' if is_one else ""
