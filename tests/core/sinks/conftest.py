from __future__ import annotations

from collections.abc import Callable

import pytest

from svlm_core.events import KIND_COMMENTARY, CommentaryEvent

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
