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

"""Drills that teach the language model to look back and copy, before it ever sees a picture.

Memory in the stream is copying: the digit behind a colour stands somewhere in the old text. A transformer
learns that late and suddenly, or never, unless it practises on text in which nothing else helps
(induction heads; Olsson et al. 2022, arXiv 2209.11895).
"""

from __future__ import annotations

import itertools

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.stream.protocol import Protocol
from svlm_core.training.samples import MEMORY_DIGIT, NOT_LEARNED, Sample, text_positions, WORD
from svlm_core.world.scene import seconds, WorldConfig

_DRILL_TOKENS = 260
_RECALL_PAIRS = 28
_RECALL_VALUES = 12


def repeats(rng: np.random.Generator, first_id: int, vocabulary: int) -> Sample:
    """A random block, said two and a half times; learned from its second time on."""
    block = rng.integers(first_id, vocabulary, int(rng.integers(10, 28))).tolist()
    ids = block + block + block[: len(block) // 2]
    given = len(block) + 1
    return _text(ids, [0.0] * given + [1.0] * (len(ids) - given), MEMORY_DIGIT)


def recall(rng: np.random.Generator, first_id: int, vocabulary: int) -> Sample:
    """Key, value, key, value, ...; learned are the values of keys that came before."""
    keys = rng.choice(np.arange(first_id, vocabulary), int(rng.integers(4, 12)), replace=False)
    values = rng.integers(first_id, vocabulary, _RECALL_VALUES)
    known: dict[int, int] = {}
    ids: list[int] = []
    weights: list[float] = []
    for _ in range(_RECALL_PAIRS):
        key = int(keys[rng.integers(len(keys))])
        weights += [0.0, 1.0 if key in known else 0.0]
        known.setdefault(key, int(values[rng.integers(_RECALL_VALUES)]))
        ids += [key, known[key]]
    return _text(ids, weights, MEMORY_DIGIT)


def drill(
    rng: np.random.Generator, seed: int, protocol: Protocol, config: StreamConfig, world: WorldConfig
) -> Sample:
    """A long stream's sentences as previous text, those without a digit thinned out; digits weigh most."""
    length_s = int(rng.choice([90, 150, 220]))
    keep = float(rng.choice([0.0, 0.3, 1.0]))
    cast = int(rng.integers(3, world.cast + 2))
    busy = WorldConfig(cast=cast, renewal=float(rng.choice([0.15, 0.25, 0.4])), lull=0.0)
    system, opened, *_ = protocol.head(config, [])
    ids = [*system.ids, *opened.ids]
    weights, tags = [0.0] * len(ids), [NOT_LEARNED] * len(ids)
    for second in itertools.islice(seconds(seed, busy), length_s):
        named = second.kind in ("new", "back")
        if second.sentence is None or not (named or rng.random() < keep):
            continue
        words = protocol.words(f" {second.sentence}")
        last = {"back": 3.0, "new": 0.1}.get(second.kind, 0.3)
        ids += words
        weights += [0.3] * (len(words) - 1) + [last]
        tags += [WORD] * (len(words) - 1) + [MEMORY_DIGIT if second.kind == "back" else NOT_LEARNED]
    sample = Sample(ids[:_DRILL_TOKENS], weights[:_DRILL_TOKENS], tags[:_DRILL_TOKENS], text_positions(0))
    sample.positions = text_positions(len(sample.ids))
    return sample


def _text(ids: list[int], weights: list[float], tag: int) -> Sample:
    return Sample(
        ids, weights, [tag if weight else NOT_LEARNED for weight in weights], text_positions(len(ids))
    )
