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
