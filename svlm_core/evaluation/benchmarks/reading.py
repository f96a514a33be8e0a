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

"""Files of published benchmarks: JSON, JSON lines or CSV, and the ways they write a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import csv
import json
from pathlib import Path
from typing import Any

from svlm_core.errors import ConfigError
from svlm_core.evaluation.runs.exclusions import DUPLICATE, Excluded

_MAX_FIELD = 1 << 24


class MalformedError(ValueError):
    """An item of a file is not what the format asks for; others may be."""


def read_items(path: Path) -> list[Any]:
    """The items of a .json array, of .jsonl lines or of .csv rows.

    Raises:
        ConfigError: the file cannot be read, or is none of these.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            csv.field_size_limit(_MAX_FIELD)
            return list(csv.DictReader(text.splitlines(keepends=True)))
        if path.suffix == ".jsonl":
            items = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            items = json.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise ConfigError(f"{path}: not valid {path.suffix or 'JSON'}: {error}") from error
    if not isinstance(items, list):
        raise ConfigError(f"{path}: must hold a list of items")
    if not items:
        raise ConfigError(f"{path}: there is no item in it")
    return items


def field(item: Mapping[str, Any], name: str, kind: type | tuple[type, ...] = str) -> Any:
    """A field of an item; MalformedError when it is missing, empty or of another kind."""
    value = item.get(name) if isinstance(item, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        raise MalformedError(f'"{name}" is {value!r}'[:120])
    return value


def seconds(value: Any, name: str = "time") -> float:
    """A time as seconds: a number, its digits, or [HH:]MM:SS[.mmm]; MalformedError otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        try:
            parts = [float(part) for part in str(value).strip().split(":")]
        except ValueError:
            raise MalformedError(f'"{name}" is no time: {value!r}'[:120]) from None
        if len(parts) > 3 or any(not 0 <= part < 60 for part in parts[1:]):
            raise MalformedError(f'"{name}" is no time: {value!r}'[:120])
        found = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    if not 0 <= found < float("inf"):
        raise MalformedError(f'"{name}" is no time: {value!r}'[:120])
    return found


def distinct(ids: Iterable[tuple[str, Any]]) -> Iterator[Any | Excluded]:
    """Pass things on; of several with one id the first alone, Excluded for each of the others."""
    seen: dict[str, int] = {}
    for name, thing in ids:
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            yield Excluded(f"{name} (again, {seen[name]})", DUPLICATE, f"number {seen[name]} of this id")
        else:
            yield thing
