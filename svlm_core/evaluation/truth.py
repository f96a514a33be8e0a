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

"""What is true of a recording: JSON lines (docs/bags.md has the format), held against what was said."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from svlm_core.errors import ConfigError
from svlm_core.evaluation.score import Judged
from svlm_core.frames import NS_PER_S

_SPANS = '"second", or "start_s" and "end_s", or "start_ns" and "end_ns"'


@dataclass(frozen=True)
class Truth:
    """One line: what is to be said about a span of time.

    Attributes:
        start_ns: stamp at which it begins to be true.
        end_ns: stamp at which it ends.
        sentence: the words; "" where nothing is to be said.
        kind: what the sentence is about, "" where the line does not say.
        sense: what it needs (seen now, motion, memory), or any coarser kind; "" where the line does not say.
        age_s: of a memory, seconds since it was last said.
    """

    start_ns: int
    end_ns: int
    sentence: str
    kind: str = ""
    sense: str = ""
    age_s: int | None = None


@dataclass(frozen=True)
class Heard:
    """What was said about one chunk ("" for silence), and the stamps between which its frames lie."""

    start_ns: int
    end_ns: int
    text: str


@dataclass(frozen=True)
class Verdict:
    """One judgement: about a true sentence, or about a chunk in which nothing was to be said.

    Attributes:
        start_ns: of the truth, or of the silent chunk.
        end_ns: the same.
        judged: what was said and what is true.
        chunks: positions of the chunks it is about, in the sequence of what was heard.
    """

    start_ns: int
    end_ns: int
    judged: Judged
    chunks: range


def read_truth(path: Path, origin_ns: int) -> list[Truth]:
    """Read a truth file.

    Args:
        path: one JSON object a line; empty lines are passed over.
        origin_ns: stamp of the recording's first picture, from which "second", "start_s" and "end_s" count.

    Returns:
        The lines in the order of their beginnings.

    Raises:
        ConfigError: the file cannot be read, or a line is wrong; the message has its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"--truth {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--truth {path}: not UTF-8 text ({error.reason})") from error
    truths = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            truths.append(_truth(json.loads(line), origin_ns))
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"--truth {path}, line {number}: {error}") from error
    if not truths:
        raise ConfigError(f"--truth {path}: there is no line in it")
    return sorted(truths, key=lambda truth: truth.start_ns)


def judge(truths: Sequence[Truth], heard: Sequence[Heard]) -> tuple[list[Verdict], int]:
    """Hold what was said against what is true.

    A sentence is right when it is said, to the letter, about a chunk that overlaps its span; its other chunks
    do not count. Where a line asks for silence, every chunk counts that no sentence claims. Chunks that no
    line covers are not judged.

    Args:
        truths: what is true, in any order.
        heard: chunks that do not overlap, oldest first.

    Returns:
        The verdicts in the order of time, and the number of sentences about moments that no frame shows.
    """
    starts, ends = [chunk.start_ns for chunk in heard], [chunk.end_ns for chunk in heard]

    def overlapping(truth: Truth) -> range:
        return range(bisect_right(ends, truth.start_ns), bisect_left(starts, truth.end_ns))

    verdicts: list[Verdict] = []
    taken: set[int] = set()  # chunks that a sentence claims, or whose silence has been judged
    unseen = 0
    for truth in truths:
        if not truth.sentence:
            continue
        chunks = overlapping(truth)
        if not chunks:
            unseen += 1
            continue
        taken.update(chunks)
        words = [heard[i].text for i in chunks if heard[i].text]
        said = truth.sentence if truth.sentence in words else next(iter(words), "")
        judged = Judged(said, truth.sentence, truth.kind, truth.sense, truth.age_s)
        verdicts.append(Verdict(truth.start_ns, truth.end_ns, judged, chunks))
    for truth in truths:
        if truth.sentence:
            continue
        for i in overlapping(truth):
            if i not in taken:
                taken.add(i)
                judged = Judged(heard[i].text, "", truth.kind, truth.sense, None)
                verdicts.append(Verdict(heard[i].start_ns, heard[i].end_ns, judged, range(i, i + 1)))
    return sorted(verdicts, key=lambda verdict: verdict.start_ns), unseen


def _truth(line: Any, origin_ns: int) -> Truth:
    """One line; ValueError says what is wrong with it."""
    if not isinstance(line, dict):
        raise ValueError(f"not a JSON object: {str(line)[:40]!r}")
    if "sentence" not in line:
        raise ValueError('"sentence" is missing; null means that nothing is to be said')
    sentence, age_s = line["sentence"], line.get("age_s")
    if not isinstance(sentence, str | None) or sentence == "":
        raise ValueError(f'"sentence" must be words, or null for silence; got {sentence!r}')
    kind, sense = str(line.get("verb") or line.get("kind") or ""), str(line.get("kind") or "")
    if age_s is not None:
        age_s = round(_number(line, "age_s"))
    start_ns, end_ns = _span(line, origin_ns)
    if end_ns <= start_ns:
        raise ValueError("the span ends before it begins")
    return Truth(start_ns, end_ns, sentence or "", kind, sense, age_s)


def _span(line: dict[str, Any], origin_ns: int) -> tuple[int, int]:
    if "second" in line:
        start_ns = origin_ns + round(_number(line, "second") * NS_PER_S)
        return start_ns, start_ns + NS_PER_S
    if "start_s" in line and "end_s" in line:
        start_s, end_s = _number(line, "start_s"), _number(line, "end_s")
        return origin_ns + round(start_s * NS_PER_S), origin_ns + round(end_s * NS_PER_S)
    if "start_ns" in line and "end_ns" in line:
        return int(_number(line, "start_ns")), int(_number(line, "end_ns"))
    raise ValueError(f"it does not say when: {_SPANS}")


def _number(line: dict[str, Any], name: str) -> int | float:
    value = line[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 63:
        raise ValueError(f'"{name}" must be a number, got {value!r}')
    return value
