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

"""The commentary event and its one-line JSON form. Schema: config/commentary_event.schema.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
import json

from svlm_core.errors import ConfigError

KIND_COMMENTARY = "commentary"  # words about a moment
KIND_GAP = "gap"  # frames of at least one whole chunk never reached the model
KIND_ANSWER = "answer"  # what the model said when it was asked; one for each question, perhaps without words
KIND_RESET = "reset"  # the stream has forgotten what it saw, and perhaps what it said
KIND_PARTIAL = "partial"  # the beginning of words that are still being found; only where it was asked for


@dataclass(frozen=True)
class CommentaryEvent:
    """Words about a moment, or a gap in what was seen or remembered.

    Attributes:
        text: the words, without the silence mark; empty for a gap; for a reset why it was needed.
        kind: one of the KIND_ constants.
        seq: number of this event in its stream, from 0, without holes; partial words have the number that
            comes next, and do not count.
        camera: name of the camera or source.
        frame_id: coordinate frame of the camera (sensor_msgs/Image header), empty outside ROS.
        chunk_index: the chunk the event is about (for a gap: the first chunk after it).
        stamp_oldest_ns: acquisition time of the oldest frame it is about, nanoseconds on the source's clock;
            for a reset both stamps are those of the last frame before it, 0 without one.
        stamp_newest_ns: acquisition time of the newest frame it is about.
        frames_used: frames the model saw for this event.
        frames_dropped: frames dropped since the previous event, by reason.
        latency_ms: from the moment the newest frame was handed over to the moment the text was complete.
        query_id: of the question that these words answer; commentary has it if it goes on with an answer that
            was cut at the chunk's end.
    """

    text: str
    kind: str
    seq: int
    camera: str
    frame_id: str
    chunk_index: int
    stamp_oldest_ns: int
    stamp_newest_ns: int
    frames_used: int
    frames_dropped: dict[str, int] = field(default_factory=dict)
    latency_ms: float = 0.0
    query_id: str = ""

    @property
    def words(self) -> str:
        """What the model said: the text of commentary and answers, "" for everything else."""
        return self.text if self.kind in (KIND_COMMENTARY, KIND_ANSWER) else ""

    def to_json(self) -> str:
        """One line of JSON, `text` first."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> CommentaryEvent:
        """Read what to_json wrote; keys that are not known are ignored, so that newer writers can add some.

        Raises:
            ConfigError: not JSON, not an object, or a field is missing.
        """
        try:
            data = json.loads(line)
            return cls(**{f.name: data[f.name] for f in fields(cls)})
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"not a commentary event: {error!r} in {line[:80]!r}") from error
