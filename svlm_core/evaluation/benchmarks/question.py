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

"""Questions about a moment of a video, and what counts as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import re
from typing import Any

LETTERS = "ABCDEFGH"

YES, NO = "Yes", "No"
YES_OR_NO = "Answer with one word: Yes or No."

_LED_IN = r"^\W*(?:the\s+)?(?:(?:best|correct|right)\s+)?(?:(?:answer|option|choice)\s*)?(?:is\b)?\W*"
_WORD = re.compile(_LED_IN + r"(yes|no|y|n)\b", re.IGNORECASE)
_NUMBERS = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ]
    )
}


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: unique in its benchmark.
        video: path of the video under the folder of videos.
        start_s: where what is shown begins, seconds of the video.
        at_s: moment at which it is asked; nothing later may be seen.
        text: what the model is asked, options included.
        answer: what is right: a letter, Yes, No, a number, or words.
        options: of a choice; empty otherwise.
        task: under which name it is counted.
        group: a wider group of tasks, "" where the benchmark has none.
        tags: more names under which it is counted.
        about: what the figures need besides; JSON's types.
    """

    id: str
    video: str
    start_s: float
    at_s: float
    text: str
    answer: str
    options: tuple[str, ...] = ()
    task: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)


def choice(question: str, options: Sequence[str]) -> str:
    """The text of a multiple-choice question."""
    lines = [f"{letter}. {bare(option)}" for letter, option in zip(LETTERS, options, strict=False)]
    letters = ", ".join(LETTERS[: len(options)])
    return "\n".join([question.strip(), *lines, f"Answer with one letter: {letters}."])


def bare(option: str) -> str:
    """An option without the letter that some files write before it."""
    return re.sub(r"^\s*\(?[A-H][.):]\s*", "", option).strip()


def read_letter(reply: str, options: Sequence[str]) -> str:
    """The letter that a reply chooses, "" when it chooses none or several.

    A letter counts where it stands for an option ("B", "(b)", "The answer is B."), not inside words; failing
    that, the words of exactly one option.
    """
    letters = LETTERS[: len(options)]
    alone = re.match(_LED_IN + rf"([{letters}])(?![\w'\u2019])", reply, re.IGNORECASE)
    if alone and not _is_article(alone, reply):
        return alone.group(1).upper()
    lower = reply.casefold()
    named = [
        i
        for i, option in enumerate(options)
        if (words := bare(option).casefold().rstrip(".")) and words in lower
    ]
    return letters[named[0]] if len(named) == 1 else ""


def read_yes_no(reply: str) -> str:
    """YES, NO, or "" when the reply says neither first."""
    match = _WORD.match(reply)
    return "" if not match else YES if match.group(1).lower() in ("yes", "y") else NO


def read_number(reply: str) -> str:
    """The one number of a reply, in digits; "" without one, or with several that differ."""
    words = re.findall(r"\d+|[a-z]+", reply.casefold())
    numbers = {
        int(word) if word.isdigit() else _NUMBERS[word]
        for word in words
        if word.isdigit() or word in _NUMBERS
    }
    return str(numbers.pop()) if len(numbers) == 1 else ""


def _is_article(letter: re.Match[str], reply: str) -> bool:
    """Whether the A is that of "A red car": more words follow without a mark between."""
    return letter.group(1).upper() == "A" and bool(re.match(r"\s+\w", reply[letter.end() :]))


def mark(question: Question, reply: str) -> tuple[str, bool]:
    """What was understood of a reply ("" for nothing), and whether it is right."""
    if question.options:
        read = read_letter(reply, question.options)
    elif question.answer in (YES, NO):
        read = read_yes_no(reply)
    elif question.answer.isdigit():
        read = read_number(reply)
    else:
        read = " ".join(reply.split())
        return read, question.answer.casefold() in read.casefold()
    return read, read == question.answer
