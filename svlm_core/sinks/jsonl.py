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

"""Events as JSON lines."""

from __future__ import annotations

from pathlib import Path

from svlm_core.events import CommentaryEvent
from svlm_core.sinks.sink import Sink
from svlm_core.sinks.text_file import TextFile


class JsonLines(Sink):
    """One event per line, gaps included; the schema is config/commentary_event.schema.json."""

    def __init__(self, path: str | Path) -> None:
        """Create the file; SvlmError when that fails."""
        self._file = TextFile(path)

    def write(self, event: CommentaryEvent) -> None:
        """Append one line."""
        self._file.append(event.to_json() + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
