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

"""The event and its line of JSON."""

from __future__ import annotations

from dataclasses import asdict, fields
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from properties import invariant
import pytest
from svlm_core.errors import ConfigError
from svlm_core.events import CommentaryEvent, KIND_ANSWER, KIND_COMMENTARY, KIND_GAP, KIND_RESET

SCHEMA = Path(__file__).parents[2] / "config" / "commentary_event.schema.json"
EVENT = CommentaryEvent("a goal", KIND_COMMENTARY, 3, "cam", "lens", 7, 10, 20, 2, {"rate": 1}, 12.5, "q1")

counts = st.integers(0, 1 << 62)
stamps_ns = st.integers(-(1 << 62), 1 << 62)
events = st.builds(
    CommentaryEvent,
    text=st.text() | st.sampled_from(["\n\r\t\u2028\x85\x00", '"}{"', "Tor für Köln", "得点 ⚽"]),
    kind=st.sampled_from([KIND_COMMENTARY, KIND_GAP, KIND_ANSWER, KIND_RESET]),
    seq=counts,
    camera=st.text(),
    frame_id=st.text(),
    chunk_index=counts,
    stamp_oldest_ns=stamps_ns,
    stamp_newest_ns=stamps_ns,
    frames_used=counts,
    frames_dropped=st.dictionaries(st.text(), counts, max_size=4),
    latency_ms=st.floats(0, 1e12),
    query_id=st.text(),
)


@invariant
@given(events)
def test_what_is_written_can_be_read_back(event: CommentaryEvent) -> None:
    assert CommentaryEvent.from_json(event.to_json()) == event


@invariant
@given(events)
def test_an_event_is_one_line_that_begins_with_its_text(event: CommentaryEvent) -> None:
    line = event.to_json()
    assert "\n" not in line and "\r" not in line
    assert line.startswith('{"text": ')
    line.encode("utf-8")


@invariant
@given(events)
def test_every_event_fits_the_published_schema(event: CommentaryEvent) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(event.to_json()))


def test_the_schema_describes_and_requires_every_field() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    names = [field.name for field in fields(CommentaryEvent)]
    assert list(schema["properties"]) == names
    assert sorted(schema["required"]) == sorted(names)


def test_words_in_any_script_stay_readable_in_the_file() -> None:
    event = CommentaryEvent("Tor für Köln ⚽", KIND_COMMENTARY, 0, "", "", 0, 0, 0, 0)
    assert "Tor für Köln ⚽" in event.to_json()


@invariant
@given(events)
def test_only_the_model_has_words(event: CommentaryEvent) -> None:
    assert event.words == (event.text if event.kind in (KIND_COMMENTARY, KIND_ANSWER) else "")


@invariant
@given(st.dictionaries(st.text(min_size=20), st.integers() | st.lists(st.text(), max_size=2), max_size=4))
def test_what_a_newer_writer_adds_is_ignored(added: dict[str, Any]) -> None:
    line = json.dumps({**added, **asdict(EVENT)})
    assert CommentaryEvent.from_json(line) == EVENT


@pytest.mark.parametrize("missing", [field.name for field in fields(CommentaryEvent)])
def test_a_line_that_lacks_a_field_is_refused_by_its_name(missing: str) -> None:
    data = asdict(EVENT)
    del data[missing]
    with pytest.raises(ConfigError, match=missing):
        CommentaryEvent.from_json(json.dumps(data))


@pytest.mark.parametrize("line", ["", "goal", "[]", "null", "7", '"text"', EVENT.to_json()[:-1]])
def test_a_line_that_is_no_event_is_refused_in_one_line(line: str) -> None:
    with pytest.raises(ConfigError, match="not a commentary event") as caught:
        CommentaryEvent.from_json(line)
    assert "\n" not in str(caught.value)
