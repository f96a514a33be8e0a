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

import pytest
from svlm_core.events import CommentaryEvent, KIND_ANSWER, KIND_GAP, KIND_RESET
from svlm_core.sinks.jsonl import JsonLines


def test_every_event_is_a_line_as_soon_as_it_is_written(tmp_path, new_event):
    path = tmp_path / "events.jsonl"
    events = [new_event("one\ntwo é"), new_event("", kind=KIND_GAP, frames_dropped={"stale": 2})]
    events += [new_event("two", kind=KIND_ANSWER, query_id="q1"), new_event("why", kind=KIND_RESET)]
    with JsonLines(path) as sink:
        for count, event in enumerate(events, start=1):
            sink.write(event)
            lines = path.read_text(encoding="utf-8").splitlines()
            assert [CommentaryEvent.from_json(line) for line in lines] == events[:count]


def test_close_may_be_called_twice_and_ends_writing(tmp_path, new_event):
    sink = JsonLines(tmp_path / "events.jsonl")
    sink.close()
    sink.close()
    with pytest.raises(ValueError, match="closed"):
        sink.write(new_event())
