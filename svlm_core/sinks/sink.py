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
