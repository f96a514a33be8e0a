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

"""Cuts the words of a video into samples that overlap (arXiv 2510.09608, section 3.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import math

from svlm_core.data.sample import Sample
from svlm_core.data.words import joined, Word
from svlm_core.errors import ConfigError

TOO_SHORT = "a video shorter than one sample"
TOO_FEW_WORDS = "a stretch with too few words"


@dataclass(frozen=True)
class CutSettings:
    """How videos are cut.

    Attributes:
        window_s: W, length of a sample, seconds.
        overlap_s: O, by which one overlaps the next.
        min_words: fewer words in a stretch, and it is no sample.
        previous_words: of what was said before, so many of the first and so many of the last words are kept.
            A stream keeps its first and its last tokens (text_sink_tokens, text_window_tokens); a word is one
            token at least, so a number that is larger than both loses nothing that a stream remembers.
        query: what the user asks of the whole stream.
    """

    window_s: float = 24.0
    overlap_s: float = 12.0
    min_words: int = 12
    previous_words: int = 2048
    query: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError that names the field."""
        if not (math.isfinite(self.window_s) and self.window_s > 0):
            raise ConfigError(f"window_s must be above 0, got {self.window_s}")
        if not 0 <= self.overlap_s < self.window_s:
            raise ConfigError(
                f"overlap_s must lie between 0 and window_s ({self.window_s}), got {self.overlap_s}"
            )
        for name in ("min_words", "previous_words"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")


def cut(
    video: str, words: Sequence[Word], length_s: float, settings: CutSettings, rejected: Counter[str]
) -> Iterator[Sample]:
    """The samples of one video.

    Args:
        video: its path, as the samples are to name it.
        words: in order (words.in_order).
        length_s: of the video; no sample goes beyond.
        settings: how to cut.
        rejected: counts, by reason, what became no sample.
    """
    if length_s < settings.window_s:
        rejected[TOO_SHORT] += 1
        return
    stride_s = settings.window_s - settings.overlap_s
    first = stop = 0  # words before the stretch; words before its end
    for number in range(int((length_s - settings.window_s) / stride_s + 1e-6) + 1):
        start_s = number * stride_s
        end_s = start_s + settings.window_s
        while first < len(words) and words[first].end_s <= start_s:
            first += 1
        stop = max(stop, first)
        while stop < len(words) and words[stop].end_s <= end_s:
            stop += 1
        if stop - first < settings.min_words:
            rejected[TOO_FEW_WORDS] += 1
            continue
        before = _abridged(words[:first], settings.previous_words)
        yield Sample(video, start_s, end_s, tuple(words[first:stop]), before, settings.query)


def _abridged(words: Sequence[Word], keep: int) -> str:
    if len(words) <= 2 * keep:
        return joined(words)
    return joined([*words[:keep], *words[len(words) - keep :]])
