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

"""Chooses the samples for the last stage of training: little silence, and words about what is seen now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
import json
import math

from svlm_core.chat.batch import ask_all
from svlm_core.chat.client import ChatClient
from svlm_core.data.cleaning import json_in
from svlm_core.data.figures import silence_s
from svlm_core.data.sample import Sample
from svlm_core.data.sentences import sentences
from svlm_core.errors import ConfigError

TOO_SILENT = "silent for too long"
NOT_LIVE = "too few sentences about what is seen now"
UNJUDGED = "no answer made sense"

INSTRUCTION = """\
You are shown sentences of commentary that is spoken over a video. For each one say whether it is \
live: about what is happening in the picture at that moment. Background, statistics, history, \
interviews and advertising are not live. Answer with one JSON object and nothing else: {"live": \
[true, false, ...]}, with one value for each sentence in order."""


@dataclass(frozen=True)
class AnnealSettings:
    """Which samples are good enough.

    Attributes:
        max_silence_s: the longest silence a sample may have, its beginning and end included.
        min_live_share: of its sentences that must be about what is seen now; 0 asks nobody.
    """

    max_silence_s: float = 3.0
    min_live_share: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigError that names the field."""
        if not (math.isfinite(self.max_silence_s) and self.max_silence_s >= 0):
            raise ConfigError(f"max_silence_s must not be negative, got {self.max_silence_s}")
        if not 0 <= self.min_live_share <= 1:
            raise ConfigError(f"min_live_share must lie between 0 and 1, got {self.min_live_share}")


def chosen(
    samples: Iterable[tuple[int, Sample]],
    settings: AnnealSettings,
    judge: ChatClient | None,
    rejected: Counter[str],
    batch: int = 64,
) -> Iterator[tuple[int, Sample]]:
    """The samples that are good enough, in order; `rejected` counts the others by reason.

    Args:
        samples: number and sample.
        settings: which are good enough.
        judge: judges the live share; may be None if that is 0.
        rejected: counts by reason.
        batch: samples that are judged at once.

    Raises:
        ConfigError: a live share is asked for and there is no judge.
        EndpointError: the endpoint refuses or cannot be reached.
    """
    if settings.min_live_share and judge is None:
        raise ConfigError("a live share is judged by a language model: give --endpoint and --judge")
    waiting: list[tuple[int, Sample]] = []
    for number, sample in samples:
        if silence_s(sample) > settings.max_silence_s:
            rejected[TOO_SILENT] += 1
            continue
        waiting.append((number, sample))
        if len(waiting) >= batch:
            yield from _live(waiting, settings, judge, rejected)
            waiting = []
    yield from _live(waiting, settings, judge, rejected)


def _live(
    samples: list[tuple[int, Sample]],
    settings: AnnealSettings,
    judge: ChatClient | None,
    rejected: Counter[str],
) -> Iterator[tuple[int, Sample]]:
    if judge is None or not settings.min_live_share:
        yield from samples
        return
    questions = [
        json.dumps([sentence.text for sentence in sentences(sample.words)], ensure_ascii=False)
        for _, sample in samples
    ]
    shares = ask_all(judge, INSTRUCTION, questions, _understand, lambda done: None)
    for item, share in zip(samples, shares, strict=True):
        if share is None:
            rejected[UNJUDGED] += 1
        elif share < settings.min_live_share:
            rejected[NOT_LIVE] += 1
        else:
            yield item


def _understand(question: str, answer: str) -> float:
    """The share of live sentences; ValueError when there is not one value for each."""
    live = json_in(answer).get("live")
    count = len(json.loads(question))
    if not isinstance(live, list) or len(live) != count or not all(isinstance(v, bool) for v in live):
        raise ValueError(f"not {count} values in {answer[:80]!r}")
    return sum(live) / count if count else 0.0
