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

"""Predictions from a file: another harness's, or an earlier run's."""

from __future__ import annotations

from pathlib import Path, PurePath

from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks.narration import from_json, to_json
from svlm_core.evaluation.benchmarks.reading import MalformedError, read_items
from svlm_core.evaluation.runs.exclusions import DUPLICATE, Excluded, MALFORMED, NOT_COVERED, OUTSIDE
from svlm_core.evaluation.runs.records import Record

UNKNOWN = "unknown"


class FileSide:
    """A side whose words are in a file already.

    Attributes:
        name: for tables.
    """

    def __init__(self, path: Path, previous: str) -> None:
        """Read a file.

        Args:
            path: JSON lines as svlm, the published harness of Inf-Streams-Eval or LiveCC's write them.
            previous: which previous text was given, for lines that do not say it themselves; "" if not known.

        Raises:
            ConfigError: it cannot be read.
        """
        self.name = path.name
        self._path = path
        self._records: dict[str, Record] = {}
        for number, line in enumerate(read_items(path), 1):
            if not isinstance(line, dict):
                raise ConfigError(f"{path}, line {number}: not an object")
            name = _name(line)
            if name in self._records:
                self._records[name] = Excluded(name, DUPLICATE, f"{path.name} has it twice").record()
                continue
            try:
                given = str(line.get("previous") or previous or UNKNOWN)
                self._records[name] = {
                    "id": name,
                    "said": to_json(name, from_json(line), given),
                    "given": given,
                }
            except MalformedError as error:
                reason = OUTSIDE if "unit" in str(error) else MALFORMED
                self._records[name] = Excluded(name, reason, f"{path.name}, line {number}: {error}").record()

    def record(self, stretch: str, previous: str) -> Record:
        """What was said about a stretch, as a record.

        Raises:
            ConfigError: it was said after another previous text than the other side gets.
        """
        if stretch not in self._records:
            return Excluded(stretch, NOT_COVERED, f"{self.name} has no line for it").record()
        record = self._records[stretch]
        given = record.get("given", previous)
        if given == UNKNOWN:
            raise ConfigError(
                f"{self._path} does not say which previous text it was given; if you know, say so with "
                "--previous-of-files none, generated or truth"
            )
        if given != previous:
            raise ConfigError(
                f"{self._path} was given the previous text {given!r}, this run gives {previous!r}: the sides "
                "would not be equal"
            )
        return record


def _name(line: dict[str, object]) -> str:
    if "event_id" in line:
        return f"{line.get('video_id')}_{line['event_id']}"
    return PurePath(str(line.get("video", ""))).name
