"""What every sink of events offers."""

from __future__ import annotations

from typing import Protocol, TypeVar

from svlm_core.events import CommentaryEvent

_Self = TypeVar("_Self", bound="Sink")


class Sink(Protocol):
    """Takes commentary events as they happen, and is a context manager; sinks inherit from it.

    What has been written is in the file (or on the terminal) when `write` returns, so a process that is
    killed leaves everything up to its last event.
    """

    def write(self, event: CommentaryEvent) -> None:
        """Take one event, in the order of the stream.

        Raises:
            SvlmError: it cannot be written, for example because the disk is full.
        """
        ...

    def close(self) -> None:
        """Write nothing more. May be called twice."""
        ...

    def __enter__(self: _Self) -> _Self:
        """The sink itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the sink."""
        self.close()
