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

"""Asks all questions of a benchmark, video by video, and keeps what became of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
import math
from pathlib import Path

from svlm_core.errors import SvlmError
from svlm_core.evaluation.benchmarks.asking import Answer
from svlm_core.evaluation.benchmarks.pictures import keep_picture
from svlm_core.evaluation.benchmarks.proactive import expand, POLLS, settle
from svlm_core.evaluation.benchmarks.question import mark, Question
from svlm_core.evaluation.recording import Progress
from svlm_core.evaluation.runs.exclusions import BROKEN_VIDEO, Excluded, MISSING_VIDEO, OUTSIDE
from svlm_core.evaluation.runs.records import Record, Records, Shard
from svlm_core.sources.clip import Clip
from svlm_core.sources.open import open_source
from svlm_core.sources.source import Source

CLOCK = "clock"  # field of a record: what was measured with a clock, and is in no figure

_AFTER_END_S = 5.0  # a question so long after the last frame is about the last frame

AnswerAll = Callable[[Callable[[float], Source], Sequence[Question], Progress], list[Answer]]
"""Answers questions about one stretch of a video, given what opens it up to a moment of the video."""


def run_questions(
    questions: Sequence[Question],
    answer_all: AnswerAll,
    videos: Path,
    folder: Path,
    records: Records,
    shard: Shard,
    progress: Progress,
) -> None:
    """Ask what has no record yet.

    Args:
        questions: with different ids.
        answer_all: the path: streaming or offline.
        videos: the folder of videos.
        folder: the run's; pictures go into it.
        records: kept as answers come.
        shard: the part of the stretches to do here.
        progress: shows questions.

    Raises:
        ConfigError: a record or a picture cannot be written.
    """
    stretches: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        stretches[f"{question.video}\n{question.start_s:012.3f}"].append(question)
    done = records.read()
    for key in shard.mine(stretches):
        asked = stretches[key]
        waiting = [question for question in asked if question.id not in done]
        progress.update(len(asked) - len(waiting))
        if waiting:
            for record in _stretch(waiting, answer_all, videos, folder):
                records.append(record)
            progress.update(len(waiting))


def _stretch(asked: list[Question], answer_all: AnswerAll, videos: Path, folder: Path) -> list[Record]:
    path, start_s = videos / asked[0].video, asked[0].start_s
    if not path.exists():
        return [Excluded(question.id, MISSING_VIDEO, str(asked[0].video)).record() for question in asked]
    reason, details, found = OUTSIDE, "the video ends before its moment", {}
    try:
        with open_source(str(path)) as source:
            length_s = _length_s(source)
        asked = [_inside(question, length_s) for question in asked]
        inside = [question for question in asked if question.at_s <= length_s]
        parts = [part for question in inside for part in expand(question)]

        def open_until(at_s: float) -> Source:
            return Clip(open_source(str(path)), start_s, math.ceil(at_s))

        answers = answer_all(open_until, parts, _Quiet()) if parts else []
    except SvlmError as error:
        answers, reason, details = getattr(error, "answers", []), BROKEN_VIDEO, str(error)
    found = {answer.question.id: answer for answer in answers}
    records = []
    for question in asked:
        parts = expand(question)
        if any(part.id not in found for part in parts):
            records.append(Excluded(question.id, reason, details).record())
            continue
        given = [found[part.id] for part in parts]
        keep_picture(folder, question.id, given[-1].jpeg)
        records.append(_record(question, given))
    return records


def _record(question: Question, given: Sequence[Answer]) -> Record:
    if POLLS in question.about:
        outcome: Mapping[str, object] = settle(question, given)
    else:
        read, right = mark(question, given[0].reply)
        outcome = {"reply": given[0].reply, "read": read, "right": right}
    return {
        "id": question.id,
        "video": question.video,
        "at_s": question.at_s,
        "task": question.task,
        "group": question.group,
        "tags": list(question.tags),
        "asked": question.text,
        "answer": question.answer,
        "seen_until_s": round(question.start_s + given[-1].seen_until_s, 6),
        **outcome,
        CLOCK: {"ms": [round(answer.ms, 3) for answer in given]},
    }


def _length_s(source: Source) -> float:
    """Of a recording; infinite where its header does not say."""
    return source.frames_total / source.fps if source.frames_total and source.fps else math.inf


def _inside(question: Question, length_s: float) -> Question:
    """A question that comes shortly after the last frame is asked at it."""
    if length_s < question.at_s <= length_s + _AFTER_END_S:
        return replace(question, at_s=max(question.start_s, length_s))
    return question


class _Quiet:
    """Progress that nobody sees: the outer one counts questions, not their parts."""

    def update(self, n: int = 1) -> None:
        """Say nothing."""
