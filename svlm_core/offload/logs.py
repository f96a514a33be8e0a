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

"""Log lines that people read and machines search: one event a line, its fields named.

A logger is given fields as logging's `extra`: `LOG.info("resumed", extra={"session": name, "epoch": 2})`.
What a robot chose, as a camera's name, is quoted, so that it cannot pass for a line of its own.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
import json
import logging
import sys
import time
from typing import Any

from svlm_core.offload.rates import RateLimit

LEVELS = ("debug", "info", "warning", "error")
LINES_PER_S, LINES_AT_ONCE = 2.0, 50.0  # of one kind

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, then the fields, and error with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`TIME LEVEL event key=value key=value`; a traceback follows on lines of its own, each indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, of a record."""
        event = _one_line(record.getMessage())
        fields = [f"{name}={_value(value)}" for name, value in _fields(record).items()]
        line = " ".join([_time(record), f"{record.levelname:<7}", event, *fields])
        if record.exc_info:
            line += "".join(f"\n    {text}" for text in self.formatException(record.exc_info).splitlines())
        return line


class SparingFilter(logging.Filter):
    """Passes so many lines of one kind and no more, so that nobody can fill a disk by misbehaving.

    Lines of one call are of one kind; the first of them that passes again says how many did not.
    """

    def __init__(self, per_s: float = LINES_PER_S, burst: float = LINES_AT_ONCE) -> None:
        """Allow each kind `per_s` lines a second on average and `burst` at once."""
        super().__init__()
        self._per_s, self._burst = per_s, burst
        self._limits: dict[tuple[str, str], RateLimit] = {}
        self._left_out: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes; debugging wants all. Handlers call it under their lock."""
        if record.levelno <= logging.DEBUG:
            return True
        kind = (record.name, str(record.msg))
        limit = self._limits.setdefault(kind, RateLimit(self._per_s, self._burst))
        if not limit.take(1, time.monotonic()):
            self._left_out[kind] += 1
            return False
        if left_out := self._left_out.pop(kind, 0):
            record.left_out = left_out
        return True


def log_to_stderr(as_json: bool, level: str = "info") -> None:
    """Send the log of this process to stderr, in place of wherever it went before.

    Args:
        as_json: a line is a JSON object.
        level: the lowest that is logged, one of LEVELS.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(SparingFilter())
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What `extra` named; names with an underscore are libraries' own notes."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and name[0] != "_"}


def _value(value: Any) -> str:
    """A field's value, quoted unless it is a plain word."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" =\"'\\")
    return text if text and plain else json.dumps(text)


def _one_line(text: str) -> str:
    """Text whose control characters, line breaks among them, are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
