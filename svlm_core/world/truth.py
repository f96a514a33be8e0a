"""What is true of the world, as JSON lines; docs/bags.md describes the format for recordings in general."""

from __future__ import annotations

import json

from svlm_core.world.scene import WorldSecond


def truth_line(second: WorldSecond) -> str:
    """One line about one second: its number, the sentence (null for silence), what that needs, its verb."""
    return json.dumps(
        {
            "second": second.index,
            "sentence": second.sentence,
            "kind": second.sense,
            "verb": second.kind,
            "age_s": second.age_s,
        }
    )
