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

"""Speech against truth, second by second: the part of the demo that is arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What was said and what was true in one second; "" stands for silence.

    Attributes:
        second: seconds since the stream's first image.
        said: the commentary.
        truth: the true sentence.
        latency_ms: of the commentary; None when nothing was said.
    """

    second: int
    said: str
    truth: str
    latency_ms: float | None

    @property
    def correct(self) -> bool:
        """Whether the words are the same; spaces do not count."""
        return self.said.split() == self.truth.split()


class Scoreboard:
    """Collects speech and settles seconds in order. A second counts when it has a truth, speech, or both."""

    def __init__(self, truths: Sequence[str | None]) -> None:
        """Start at second 0.

        Args:
            truths: the true sentence of every second, None for silence.
        """
        self._truths = truths
        self._said: dict[int, str] = {}
        self._latency_ms: dict[int, float] = {}
        self._settled = 0
        self.verdicts: list[Verdict] = []

    def hear(self, second: int, text: str, latency_ms: float) -> None:
        """Note what was said about a second; words about a second that is settled already are not counted."""
        if second >= self._settled:
            self._said[second] = f"{self._said.get(second, '')} {text}".strip()
            self._latency_ms[second] = latency_ms

    def settle(self, until: int) -> list[Verdict]:
        """Judge every second before `until` that is still open; returns those that count, in order."""
        fresh: list[Verdict] = []
        for second in range(self._settled, min(until, len(self._truths))):
            said, truth = self._said.get(second, ""), self._truths[second] or ""
            if said or truth:
                fresh.append(Verdict(second, said, truth, self._latency_ms.get(second)))
        self._settled = max(self._settled, until)
        self.verdicts += fresh
        return fresh

    @property
    def correct(self) -> int:
        """Seconds judged correct so far."""
        return sum(verdict.correct for verdict in self.verdicts)

    @property
    def accuracy(self) -> float:
        """Correct seconds among those that count, 0 to 1; 0 when none counts yet."""
        return self.correct / len(self.verdicts) if self.verdicts else 0.0

    @property
    def latencies_ms(self) -> list[float]:
        """Latencies of everything said in judged seconds, ascending."""
        return sorted(verdict.latency_ms for verdict in self.verdicts if verdict.latency_ms is not None)
