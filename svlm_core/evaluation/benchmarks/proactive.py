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

"""Proactive output: say something at the right moment, not before and not after.

Every second the model is asked whether the moment has come; at the first yes what it says counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TYPE_CHECKING

from svlm_core.evaluation.benchmarks.question import Question, read_yes_no, YES, YES_OR_NO

if TYPE_CHECKING:  # torch takes seconds to import
    from svlm_core.evaluation.benchmarks.asking import Answer

TASK = "Proactive Output"
POLLS = "polls"  # in Question.about: the moments at which it is asked

_TOLERANCE_S = 2  # the published protocol's
_READY, _SAY = "ready", "say"


def expand(question: Question) -> list[Question]:
    """What is asked in place of a proactive question; any other question stands for itself."""
    if POLLS not in question.about:
        return [question]
    ready = f'{question.text} Is it the right moment now to output "{question.answer}"? {YES_OR_NO}'
    asked = []
    for at_s in question.about[POLLS]:
        name = f"{question.id} at {at_s:09.3f}"
        asked.append(replace(question, id=f"{name} {_READY}", at_s=at_s, text=ready, answer=YES, about={}))
        asked.append(replace(question, id=f"{name} {_SAY}", at_s=at_s, about={}))
    return asked


def settle(question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    """What became of a proactive question.

    Returns:
        reply, read and right as of any question (right: what was said and when), said_at_s (None for never)
        and moment_right.
    """
    polls = {answer.question.id: answer for answer in answers}
    for at_s in question.about[POLLS]:
        name = f"{question.id} at {at_s:09.3f}"
        if read_yes_no(polls[f"{name} {_READY}"].reply) != YES:
            continue
        said = polls[f"{name} {_SAY}"].reply
        in_time = abs(at_s - question.about["due_s"]) <= _TOLERANCE_S
        right = in_time and question.answer.casefold() in said.casefold()
        return {"reply": said, "read": YES, "right": right, "said_at_s": at_s, "moment_right": in_time}
    return {"reply": "", "read": "never", "right": False, "said_at_s": None, "moment_right": False}
