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

"""Cleans what was said, sentence by sentence: keep, edit or delete, as a language model judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
import json

from svlm_core.chat.batch import ask_all
from svlm_core.chat.client import ChatClient
from svlm_core.data.sentences import Sentence
from svlm_core.data.words import Word

KEEP, EDIT, DELETE = "keep", "edit", "delete"
UNJUDGED = "kept because no answer made sense"
_GROWTH = 3  # words of an edit for each word of the sentence: "42-0" may become "forty-two to nil"
_AROUND = 3  # sentences shown before and after, so that the one in question is understood

INSTRUCTION = """\
You clean the transcript of commentary that is spoken over a video, so that a model can learn from \
it to say what it sees. You are shown one sentence and, for context, its neighbours. Decide:
- keep: the sentence is fine.
- edit: it has errors of speech recognition, or parts that do not belong (advertising, greetings to \
listeners, filler). Write it again, changing as little as possible. Never add what was not said.
- delete: nothing in it is about what happens (advertising, sponsors, programme notes, gibberish).
Answer with one JSON object and nothing else: {"verdict": "keep"}, {"verdict": "delete"}, or \
{"verdict": "edit", "text": "the sentence written again"}."""


@dataclass(frozen=True)
class Verdict:
    """What is to become of a sentence; `text` is what an edited one says."""

    kind: str
    text: str = ""


@dataclass(frozen=True)
class Cleaned:
    """The words that are left, and how many sentences met which end."""

    words: list[Word]
    counts: Counter[str]


def clean(
    said: Sequence[Sentence], topic: str, judge: ChatClient, progress: Callable[[int], object]
) -> Cleaned:
    """Have every sentence judged; one on which no answer makes sense is kept and counted as UNJUDGED.

    Args:
        said: all sentences of one video, in order.
        topic: what the video is about, for the judge; may be "".
        judge: asks the language model.
        progress: called with the number of sentences done.

    Raises:
        EndpointError: the endpoint refuses or cannot be reached.
    """
    questions = [_question(said, number, topic) for number in range(len(said))]
    verdicts = ask_all(judge, INSTRUCTION, questions, _understand, progress)
    counts: Counter[str] = Counter()
    words: list[Word] = []
    for sentence, verdict in zip(said, verdicts, strict=True):
        counts[verdict.kind if verdict else UNJUDGED] += 1
        if verdict is None or verdict.kind == KEEP:
            words += sentence.words
        elif verdict.kind == EDIT:
            words += sentence.said_otherwise(verdict.text)
    return Cleaned(words, counts)


def _question(said: Sequence[Sentence], number: int, topic: str) -> str:
    before = [sentence.text for sentence in said[max(0, number - _AROUND) : number]]
    after = [sentence.text for sentence in said[number + 1 : number + 1 + _AROUND]]
    asked = {"about": topic, "before": before, "sentence": said[number].text, "after": after}
    return json.dumps(asked, ensure_ascii=False)


def _understand(question: str, answer: str) -> Verdict:
    """Read a verdict; ValueError when it is none, or when an edit grew to more than was said."""
    found = json_in(answer)
    kind, text = found.get("verdict"), found.get("text", "")
    if kind not in (KEEP, EDIT, DELETE) or not isinstance(text, str):
        raise ValueError(f"no verdict in {answer[:80]!r}")
    longest = _GROWTH * len(json.loads(question)["sentence"].split())
    if kind == EDIT and not 0 < len(text.split()) <= longest:
        raise ValueError("an edit that is empty or far longer than the sentence")
    return Verdict(kind, " ".join(text.split()))


def json_in(answer: str) -> dict[str, object]:
    """The JSON object in an answer, perhaps between other words or in a fence; ValueError without one."""
    begin, end = answer.find("{"), answer.rfind("}")
    try:
        found = json.loads(answer[begin : end + 1])
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found
