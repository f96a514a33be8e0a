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

from __future__ import annotations

import numpy as np
import pytest
from svlm_core.config import StreamConfig
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.stream.protocol import Protocol
from svlm_core.training.copying import drill, recall, repeats
from svlm_core.training.samples import MEMORY_DIGIT, NOT_LEARNED, Sample
from svlm_core.world.scene import WorldConfig

FIRST, VOCABULARY = 7, 300
SEEDS = range(8)


def learned(sample: Sample) -> list[int]:
    assert len(sample.ids) == len(sample.weights) == len(sample.tags) == sample.positions.shape[1]
    for weight, tag in zip(sample.weights, sample.tags, strict=True):
        assert (tag == NOT_LEARNED) or weight > 0
    return [i for i, weight in enumerate(sample.weights) if weight]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_learned_of_a_repeat_was_said_one_block_before(seed: int) -> None:
    sample = repeats(np.random.default_rng(seed), FIRST, VOCABULARY)
    places = learned(sample)
    block = places[0] - 1
    assert 10 <= block < 28
    assert places == list(range(block + 1, len(sample.ids)))
    assert [sample.ids[i] for i in places] == [sample.ids[i - block] for i in places]
    assert min(sample.ids) >= FIRST, "no special token is drilled"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_learned_of_a_recall_is_the_value_of_a_key_seen_before(seed: int) -> None:
    sample = recall(np.random.default_rng(seed), FIRST, VOCABULARY)
    pairs = list(zip(sample.ids[::2], sample.ids[1::2], strict=True))
    known: dict[int, int] = {}
    expected = []
    for i, (key, value) in enumerate(pairs):
        if key in known:
            assert known[key] == value
            expected.append(2 * i + 1)
        known[key] = value
    assert learned(sample) == expected != []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drill_asks_for_digits_that_its_own_text_tells(
    seed: int, world_model: QwenVL, world_config: StreamConfig
) -> None:
    protocol = Protocol.from_config(world_config, world_model.tokenizer, world_model.dialect)
    sample = drill(np.random.default_rng(seed), seed, protocol, world_config, WorldConfig())
    learned(sample)
    words = [world_model.tokenizer.decode([i]) for i in sample.ids]
    told: dict[str, str] = {}
    asked = 0
    for i, word in enumerate(words[:-2]):
        if word in (" new", " back"):
            colour, digit = words[i + 1 : i + 3]
            if word == " back":
                assert told[colour] == digit
                assert sample.tags[i + 2] == MEMORY_DIGIT
                assert sample.weights[i + 2] == max(sample.weights)
                asked += 1
            told[colour] = digit
    assert asked == sample.tags[: len(words)].count(MEMORY_DIGIT) > 0
    assert len(sample.ids) <= 260
