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

"""OVO-Bench: backward tracing, real-time perception, and forward active responding.

Format: one JSON array. Backward and real-time items have a question, options, gt (index of the right one) and
realtime (seconds at which it is asked). Forward items have test_info, several moments of one task: REC counts
repetitions, SSR asks whether a step goes on, CRR whether a question can be answered yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from svlm_core.evaluation.benchmarks.accuracy import accuracy, macro
from svlm_core.evaluation.benchmarks.question import choice, NO, Question, YES, YES_OR_NO
from svlm_core.evaluation.benchmarks.reading import distinct, field, MalformedError, read_items, seconds
from svlm_core.evaluation.runs.exclusions import Excluded, MALFORMED
from svlm_core.evaluation.runs.records import Record

NAME = "ovo"

BACKWARD, REALTIME, FORWARD = "backward", "realtime", "forward"
GROUPS = {
    **dict.fromkeys(("EPM", "ASI", "HLD"), BACKWARD),
    **dict.fromkeys(("OCR", "ACR", "ATR", "STU", "FPD", "OJR"), REALTIME),
    **dict.fromkeys(("REC", "SSR", "CRR"), FORWARD),
}


def read(path: Path) -> list[Question | Excluded]:
    """Read the annotations (ovo_bench_new.json)."""
    return list(distinct(_all(read_items(path))))


def figures(records: Sequence[Record], seed: int) -> dict[str, Any]:
    """Accuracy, and the benchmark's two totals: with Forward and without it.

    A group is the mean of its tasks, a total the mean of its groups; None while a group has no answer.
    """
    shares = accuracy(records, seed)
    groups = shares["by_group"]

    def total(*names: str) -> float | None:
        return macro({name: groups[name] for name in names}) if set(names) <= set(groups) else None

    return {
        "with_forward": total(BACKWARD, REALTIME, FORWARD),
        "without_forward": total(BACKWARD, REALTIME),
        **shares,
    }


def _all(items: list[Any]) -> Iterator[tuple[str, Question | Excluded]]:
    for number, item in enumerate(items):
        try:
            for question in _questions(item):
                yield question.id, question
        except MalformedError as error:
            name = str(item.get("id", "")) if isinstance(item, dict) else ""
            excluded = Excluded(f"item {number} ({name})", MALFORMED, str(error))
            yield excluded.id, excluded


def _questions(item: Any) -> list[Question]:
    name, video, task = str(field(item, "id", (int, str))), field(item, "video"), field(item, "task")
    if task not in GROUPS:
        raise MalformedError(f'"task" {task!r} is none of {", ".join(GROUPS)}')
    group = GROUPS[task]
    if group != FORWARD:
        options = field(item, "options", list)
        right = field(item, "gt", int)
        if not 0 <= right < len(options):
            raise MalformedError(f'"gt" {right} is none of {len(options)} options')
        text = choice(field(item, "question"), [str(option) for option in options])
        at_s = seconds(item.get("realtime"), "realtime")
        answer = "ABCDEFGH"[right]
        return [Question(name, video, 0.0, at_s, text, answer, tuple(map(str, options)), task, group)]
    questions = []
    for number, moment in enumerate(field(item, "test_info", list)):
        at_s = seconds(moment.get("realtime"), "realtime")
        text, answer = _forward(item, moment, task)
        questions.append(Question(f"{name}_{number}", video, 0.0, at_s, text, answer, (), task, group))
    return questions


def _forward(item: dict[str, Any], moment: dict[str, Any], task: str) -> tuple[str, str]:
    if task == "REC":
        count = field(moment, "count", int)
        return (
            f"Somebody may be {field(item, 'activity')} in this video, once or several times. How many times "
            "has it been done so far, by anybody? Answer with one number.",
            str(count),
        )
    answer = YES if field(moment, "type", int) else NO
    if task == "SSR":
        return f"Is somebody doing this step right now: {field(moment, 'step')}? {YES_OR_NO}", answer
    asked = field(item, "question")
    return f"Has the video shown enough by now to answer this question: {asked} {YES_OR_NO}", answer
