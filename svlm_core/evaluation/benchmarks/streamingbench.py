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

"""StreamingBench: real-time, omni-source and sequential questions, and proactive output.

Format: a JSON array of videos (for sequential questions: of lists of them), each with video_path and
questions; a question has task_type, time_stamp and either options and answer, or ground_truth_time_stamp and
ground_truth_output. A sequential question is asked with the earlier questions of its video and their right
answers in front, as the published protocol has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from svlm_core.evaluation.benchmarks.accuracy import accuracy
from svlm_core.evaluation.benchmarks.proactive import POLLS, TASK
from svlm_core.evaluation.benchmarks.question import bare, choice, LETTERS, Question
from svlm_core.evaluation.benchmarks.reading import distinct, field, MalformedError, read_items, seconds
from svlm_core.evaluation.runs.exclusions import Excluded, MALFORMED
from svlm_core.evaluation.runs.records import EXCLUDED, Record

NAME = "streamingbench"

_SEQUENTIAL = "Sequential Question Answering"
_GRACE_S = 4  # after the right moment the model is asked so long; the published protocol's


def read(path: Path) -> list[Question | Excluded]:
    """Read one of the questions_*.json files."""
    return list(distinct(_all(read_items(path), path.stem)))


def figures(records: Sequence[Record], seed: int) -> dict[str, Any]:
    """Accuracy by task; for proactive output also how often the moment alone was right."""
    shares = accuracy(records, seed)
    polled = [record for record in records if EXCLUDED not in record and "moment_right" in record]
    if polled:
        moments = [{**record, "right": record["moment_right"]} for record in polled]
        shares["proactive_moment"] = accuracy(moments, seed)["all"]
    return shares


def _all(items: list[Any], file: str) -> Iterator[tuple[str, Question | Excluded]]:
    for number, item in enumerate(items):
        dialogue: list[str] = []
        for entry in item if isinstance(item, list) else [item]:
            try:
                asked, video = field(entry, "questions", list), _video(field(entry, "video_path"))
            except MalformedError as error:
                excluded = Excluded(f"{file} item {number}", MALFORMED, str(error))
                yield excluded.id, excluded
                continue
            for question in asked:
                try:
                    made = _question(question, video, dialogue)
                    yield made.id, made
                except MalformedError as error:
                    excluded = Excluded(f"{file} item {number}: {str(question)[:60]}", MALFORMED, str(error))
                    yield excluded.id, excluded


def _question(item: Any, video: str, dialogue: list[str]) -> Question:
    task, words = field(item, "task_type"), field(item, "question")
    at_s = seconds(item.get("time_stamp"), "time_stamp")
    tags = (f"ability: {item['required_ability']}",) if item.get("required_ability") else ()
    name = f"{video} {task} {at_s:g} s: {words}"
    if "ground_truth_time_stamp" in item:
        due_s = seconds(item["ground_truth_time_stamp"], "ground_truth_time_stamp")
        output = field(item, "ground_truth_output")
        if due_s < at_s:
            raise MalformedError("the right moment comes before the question")
        polls = [at_s + step for step in range(1, int(due_s + _GRACE_S - at_s) + 1)]
        about = {POLLS: polls, "due_s": due_s}
        return Question(name, video, 0.0, polls[-1], words, output, (), TASK, "", tags, about)
    options = [str(option) for option in field(item, "options", list)]
    answer = field(item, "answer").strip().upper()
    if answer not in LETTERS[: len(options)]:
        raise MalformedError(f'"answer" {answer!r} is none of {len(options)} options')
    text = choice(words, options)
    if task == _SEQUENTIAL:
        context = "\n".join(["Asked before about this video:", *dialogue, "Now:"]) if dialogue else ""
        text = f"{context}\n{text}".lstrip()
        dialogue.append(f"At {at_s:g} s: {words} {bare(options[LETTERS.index(answer)])}")
    return Question(name, video, 0.0, at_s, text, answer, tuple(options), task, "", tags)


def _video(path: str) -> str:
    """The path under the folder of videos; the files begin it with ./videos/."""
    return path.removeprefix("./").removeprefix("videos/")
