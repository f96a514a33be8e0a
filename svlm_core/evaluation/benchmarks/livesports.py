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

"""LiveSports-3K: multiple-choice questions about events (QA), and commentary on them (CC).

QA items have a video, the event's begin and end, q_type, OCR, a question, options and the answer's letter.
CC items have a video, event_id, begin, end, event_title, preasr_text (what the commentator said just before)
and event_asr_text (what the commentator said).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from svlm_core.evaluation.benchmarks.question import choice, LETTERS, Question
from svlm_core.evaluation.benchmarks.reading import distinct, field, MalformedError, read_items, seconds
from svlm_core.evaluation.benchmarks.segment import Segment, Stretch
from svlm_core.evaluation.runs.exclusions import EMPTY_REFERENCE, Excluded, MALFORMED

NAME = "livesports"

_OCR = "OCR"


def read_qa(path: Path) -> list[Question | Excluded]:
    """Read the QA track: .json, .jsonl or .csv."""

    def questions() -> Iterator[tuple[str, Question | Excluded]]:
        for number, item in enumerate(read_items(path)):
            try:
                question = _question(item, number)
                yield question.id, question
            except MalformedError as error:
                excluded = Excluded(f"item {number}", MALFORMED, str(error))
                yield excluded.id, excluded

    return list(distinct(questions()))


def read_cc(path: Path) -> tuple[list[Stretch], list[Segment], list[Excluded]]:
    """Read the CC track: each event is a stretch with one segment."""
    stretches, segments, excluded = [], [], []

    def events() -> Iterator[tuple[str, tuple[Stretch, Segment] | Excluded]]:
        for number, item in enumerate(read_items(path)):
            try:
                stretch, segment = _event(item)
                yield segment.id, (stretch, segment)
            except MalformedError as error:
                yield f"item {number}", Excluded(f"item {number}", MALFORMED, str(error))

    for event in distinct(events()):
        if isinstance(event, Excluded):
            excluded.append(event)
        elif not event[1].reference:
            excluded.append(Excluded(event[1].id, EMPTY_REFERENCE, '"event_asr_text" is empty'))
        else:
            stretches.append(event[0])
            segments.append(event[1])
    return stretches, segments, excluded


def _question(item: Any, number: int) -> Question:
    start_s, end_s = _span(item)
    options = item.get("options")
    if not isinstance(options, list):
        columns = [item.get(f"option_{letter}") or item.get(letter) for letter in LETTERS]
        options = [option for option in columns if option]
    if len(options) < 2:
        raise MalformedError("it has no options")
    answer = field(item, "answer").strip()[:1].upper()
    if answer not in LETTERS[: len(options)]:
        raise MalformedError(f'"answer" {item["answer"]!r} is none of {len(options)} options')
    kind = str(item.get("q_type") or "")
    tags = (_OCR,) if str(item.get("OCR")) in ("1", "1.0", "True") else ()
    name = f"{_video(item)} {item.get('question_id', number)}"
    text = choice(field(item, "question"), [str(option) for option in options])
    return Question(
        name, _video(item), start_s, end_s, text, answer, tuple(map(str, options)), kind, "", tags
    )


def _event(item: Any) -> tuple[Stretch, Segment]:
    start_s, end_s = _span(item)
    name = f"{field(item, 'video_id')}_{field(item, 'event_id', (int, str))}"
    title = str(item.get("event_title") or "")
    before = str(item.get("preasr_text") or "").strip()
    reference = " ".join(str(item.get("event_asr_text") or "").split())
    stretch = Stretch(name, _video(item), start_s, end_s, before, title)
    return stretch, Segment(name, name, start_s, end_s, reference)


def _span(item: Mapping[str, Any]) -> tuple[float, float]:
    if not isinstance(item, Mapping):
        raise MalformedError("not an object")
    start_s = seconds(item.get("video_start", item.get("begin")), "begin")
    end_s = seconds(item.get("video_end", item.get("end")), "end")
    if end_s <= start_s:
        raise MalformedError(f"it ends at {end_s:g} s and begins at {start_s:g} s")
    return start_s, end_s


def _video(item: Mapping[str, Any]) -> str:
    return str(item.get("video") or "") or f"{field(item, 'video_id')}.mp4"
