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

"""One training sample: a stretch of one video, what is said in it, and what was said before.

On disk it is a line of JSON in the form that StreamingVLM's training set (Inf-Stream-Train) and LiveCC's are
published in: a conversation of two messages.

    [{"role": "user", "content": [
        {"type": "video", "video": PATH, "video_start": 12.0, "video_end": 36.0},
        {"type": "text", "text": QUERY, "previous": PREVIOUS}]},
     {"role": "assistant", "content": [
        {"type": "text_stream", "text_stream": [[start, end, word], ...],
         "qa_stream": [[start, end, question, answer], ...]}]}]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from svlm_core.data.words import is_timed, joined, Word
from svlm_core.errors import SourceError

_SLACK_S = 1e-6  # times are sums of decimal fractions
_MAX_S = 24 * 3600.0  # of one sample; a wrong unit (milliseconds) is caught here


class Question(NamedTuple):
    """A question and its answer; the question is asked, and answered, in the round that holds end_s."""

    start_s: float
    end_s: float
    question: str
    answer: str


class Turn(NamedTuple):
    """What one round of the sample holds beside its frames: the words to say, and the question if any."""

    words: str
    query: str


@dataclass(frozen=True)
class Sample:
    """A stretch of one video with its words.

    Attributes:
        video: path of the video, absolute, or relative to the file the sample stands in.
        start_s: where the stretch begins, seconds from the video's first frame.
        end_s: where it ends.
        words: what is said in it, by the time of their ends; seconds from the video's first frame.
        previous: everything said before it.
        query: what the user asks of the whole stream.
        questions: asked in the middle of the stream, in order.
    """

    video: str
    start_s: float
    end_s: float
    words: tuple[Word, ...]
    previous: str = ""
    query: str = ""
    questions: tuple[Question, ...] = ()

    def turns(self, chunk_s: float) -> list[Turn]:
        """What each round of `chunk_s` seconds holds: a word is said in the round in which it ends.

        A last round that is not whole is left out.
        """
        count = int((self.end_s - self.start_s) / chunk_s + _SLACK_S)
        turns, at, asked = [], 0, 0
        for number in range(count):
            stop_s = self.start_s + (number + 1) * chunk_s + _SLACK_S
            begin = at
            while at < len(self.words) and self.words[at].end_s <= stop_s:
                at += 1
            said, query = joined(self.words[begin:at]), ""
            if asked < len(self.questions) and self.questions[asked].end_s <= stop_s:
                _, _, query, answer = self.questions[asked]
                said = f"{answer} {said}".strip()
                asked += 1
            turns.append(Turn(said, query))
        return turns

    def moved(self, old: Path, new: Path) -> Sample:
        """The same sample for a file in another folder: a video named relative to the old one still is."""
        if os.path.isabs(self.video) or not (old / self.video).exists():
            return self
        return replace(self, video=os.path.relpath(old / self.video, new))

    def to_line(self) -> str:
        """One line of JSON."""
        stream: dict[str, Any] = {
            "type": "text_stream",
            "text_stream": [[round(w.start_s, 3), round(w.end_s, 3), w.text] for w in self.words],
        }
        if self.questions:
            stream["qa_stream"] = [list(question) for question in self.questions]
        video = {
            "type": "video",
            "video": self.video,
            "video_start": self.start_s,
            "video_end": self.end_s,
        }
        text = {"type": "text", "text": self.query, "previous": self.previous}
        conversation = [
            {"role": "user", "content": [video, text]},
            {"role": "assistant", "content": [stream]},
        ]
        return json.dumps(conversation, ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str | bytes, where: str) -> Sample:
        """Read a line.

        Args:
            line: JSON.
            where: "file:line", for messages.

        Raises:
            SourceError: it is not such a sample; says what is missing.
        """
        try:
            user, assistant = json.loads(line)
            videos = [element for element in user["content"] if element["type"] == "video"]
            texts = [element for element in user["content"] if element["type"] == "text"]
            (video,), (stream,) = videos, assistant["content"]
            start_s, end_s = video["video_start"], video["video_end"]
            if not is_timed(start_s, end_s) or not 0 < end_s - start_s <= _MAX_S:
                raise ValueError(f"video_start {start_s!r} and video_end {end_s!r} are no stretch of a video")
            previous = [element["previous"] for element in user["content"] if "previous" in element]
            return cls(
                str(video["video"]),
                float(start_s),
                float(end_s),
                _words(stream["text_stream"]),
                "".join(previous[:1]),
                "".join(element["text"] for element in texts),
                _questions(stream.get("qa_stream") or []),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise SourceError(f"{where}: not a sample ({reason})") from None


def _words(entries: list[Any]) -> tuple[Word, ...]:
    words = []
    for start_s, end_s, text in entries:
        if not is_timed(start_s, end_s) or not isinstance(text, str):
            raise ValueError(f"{[start_s, end_s, text]!r} is not a word with a start and an end")
        words.append(Word(float(start_s), float(end_s), text.strip()))
    return tuple(sorted(words, key=lambda word: word.end_s))


def _questions(entries: list[Any]) -> tuple[Question, ...]:
    questions = []
    for start_s, end_s, question, answer in entries:
        if not is_timed(start_s, end_s):
            raise ValueError(f"a question at {start_s!r} to {end_s!r}")
        questions.append(Question(float(start_s), float(end_s), str(question), str(answer)))
    return tuple(sorted(questions, key=lambda asked: asked.end_s))
