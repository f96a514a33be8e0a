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

from __future__ import annotations

from collections.abc import Callable

import pytest
from svlm_core.events import CommentaryEvent, KIND_COMMENTARY

NewEvent = Callable[..., CommentaryEvent]


@pytest.fixture(scope="session")
def new_event() -> NewEvent:
    """Makes an event about the second that begins at start_ns."""

    def make(text: str = "red stops", start_ns: int = 0, **fields: object) -> CommentaryEvent:
        event = {
            "text": text,
            "kind": KIND_COMMENTARY,
            "seq": 0,
            "camera": "clip.mp4",
            "frame_id": "",
            "chunk_index": 0,
            "stamp_oldest_ns": start_ns,
            "stamp_newest_ns": start_ns + 500_000_000,
            "frames_used": 2,
            "latency_ms": 12.4,
        }
        return CommentaryEvent(**{**event, **fields})

    return make
