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

"""Training looks like streaming: a sample against a session that sees the same and is told what to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import itertools
from typing import Any

import numpy as np
import pytest
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.session import StreamSession
from svlm_core.training.objective import Objective
from svlm_core.training.recipe import Weights
from svlm_core.training.samples import (
    MEMORY_DIGIT,
    NEW_DIGIT,
    NOT_LEARNED,
    QUIET,
    Sample,
    StreamSampler,
    WORD,
)
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WorldConfig, WorldSecond
import torch
from torch import Tensor

CHUNK_S = 8
BOUND = 1e-4  # float32


def sampler(model: QwenVL, config: StreamConfig, forget: float = 0.0) -> StreamSampler:
    protocol = Protocol.from_config(config, model.tokenizer, model.dialect)
    world = WorldConfig(renewal=0.4)
    place = lambda grid, base: model.vision_positions(grid, base, 1.0)  # noqa: E731
    return StreamSampler(protocol, config, place, world, Weights(), CHUNK_S, 4, forget)


def samples(model: QwenVL, config: StreamConfig, forget: float = 0.0) -> Iterator[Sample]:
    draw = sampler(model, config, forget)
    for seed in itertools.count():
        yield draw.sample(np.random.default_rng(seed), seed)


def past(sample: Sample) -> list[WorldSecond]:
    """The seconds before the sample's, from whichever cast the sample drew."""
    begin = sample.chunks[0].index
    for cast in (4, 5, 6):
        stream = list(
            itertools.islice(seconds(sample.seed or 0, WorldConfig(cast=cast, renewal=0.4)), begin + CHUNK_S)
        )
        if stream[begin:] == list(sample.chunks):
            return stream[:begin]
    raise AssertionError("the sample's seconds are of no world of its seed")


class ToldTheTruth:
    """A session whose every word is the truth."""

    def __init__(self, model: QwenVL, config: StreamConfig, seed: int) -> None:
        self._words = lambda text: model.tokenizer.encode(text, add_special_tokens=False)
        self._end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._renderer = Renderer(seed)
        self._script: list[int] = []
        self._session = StreamSession(model, config, self._choose)
        self.logits: list[Tensor] = []
        self.said: list[int] = []

    def hear(self, stream: Sequence[WorldSecond]) -> StreamSession:
        for number, second in enumerate(stream):
            sentence = f" {second.sentence}" if second.sentence else ""
            self._script = [*self._words(f"{sentence} ..."), self._end]
            pictures = self._renderer.frames(second)
            self._session.step(Chunk(number, tuple(Frame(k, rgb) for k, rgb in enumerate(pictures))))
            assert not self._script, "the session stopped asking before the end of the turn"
        return self._session

    def _choose(self, logits: Tensor, context: Tensor) -> int:
        self.logits.append(logits.clone())
        self.said.append(self._script[0])
        return self._script.pop(0)


def previous_tokens(sample: Sample, model: QwenVL, config: StreamConfig) -> list[int]:
    """The old text in a sample: what stands between the second turn's opening and its end."""
    encode = model.tokenizer.encode
    opening = encode("<|im_start|>previous text\n", add_special_tokens=False)
    start = next(i for i in range(len(sample.ids)) if sample.ids[i : i + len(opening)] == opening) + len(
        opening
    )
    return sample.ids[start : sample.ids.index(model.tokenizer.eos_token_id, start)]


@pytest.fixture(scope="module")
def all_said(world_model: QwenVL) -> Any:
    def encode(stream: Sequence[WorldSecond]) -> list[int]:
        text = "".join(f" {second.sentence}" for second in stream if second.sentence)
        return world_model.tokenizer.encode(text, add_special_tokens=False) if text else []

    return encode


def test_a_sample_is_the_context_that_streaming_would_have(
    world_model: QwenVL, world_config: StreamConfig, all_said: Any
) -> None:
    """Streamed from its world's first second, with chunks evicted, text moved and its middle forgotten."""
    longest = world_config.text_sink_tokens + world_config.text_window_tokens
    checked = 0
    for sample in samples(world_model, world_config):
        before = past(sample)
        old = previous_tokens(sample, world_model, world_config)
        if not (len(all_said(before)) > len(old) == longest) or len(before) > 120:
            continue  # wanted: the settings' own memory (samples vary it), full, and soon reached
        session = ToldTheTruth(world_model, world_config, sample.seed or 0).hear([*before, *sample.chunks])
        context = session.context
        assert context.ids == sample.ids
        torch.testing.assert_close(
            context.positions, sample.positions[:, : context.cached_tokens], rtol=0, atol=1e-3
        )
        checked += 1
        if checked == 2:
            return


def test_a_samples_logits_and_loss_are_those_of_streaming(
    world_model: QwenVL, world_config: StreamConfig, all_said: Any
) -> None:
    """Nothing evicted: what the model learns from is what it will compute, token by token."""
    sample = next(
        sample
        for sample in samples(world_model, world_config)
        if 5 < len(all_said(past(sample))) < world_config.text_sink_tokens + world_config.text_window_tokens
    )
    old = world_model.tokenizer.decode(previous_tokens(sample, world_model, world_config))
    told = ToldTheTruth(world_model, world_config.replace({"previous_text": old}, "test"), sample.seed or 0)
    context = told.hear(sample.chunks).context
    assert context.ids == sample.ids
    renderer = Renderer(sample.seed or 0)
    pixels = np.concatenate([renderer.frames(second) for second in sample.chunks])
    vision = world_model.preprocess(pixels, 9, 9)
    ids, weights = torch.tensor(sample.ids), torch.tensor(sample.weights)
    with torch.no_grad():
        embeds = world_model.embed(ids)
        embeds[ids == world_model.video_token_id] = world_model.encode_vision(vision)
        logits = world_model.head(world_model.hidden(embeds[None], sample.positions[:, None]))[0]
        outputs = Objective(world_model, 0.0)(
            input_ids=ids[None],
            positions=sample.positions[:, None],
            weights=weights[None],
            tags=torch.tensor(sample.tags)[None],
            features=torch.zeros(len(vision.patches) // 4, world_model.hidden_size),
            pixels=vision.patches,
        )
    learned = weights.nonzero().flatten()
    assert ids[learned].tolist() == told.said, "learned is what the assistant says, nothing else"
    streamed = torch.stack(told.logits)
    assert float((streamed - logits[learned - 1]).abs().max()) <= BOUND
    each = torch.nn.functional.cross_entropy(streamed, ids[learned], reduction="none")
    expected = (each * weights[learned]).sum() / weights.sum()
    torch.testing.assert_close(outputs["loss"], expected, rtol=0, atol=BOUND)


def test_words_are_weighted_by_what_they_need(world_model: QwenVL, world_config: StreamConfig) -> None:
    weigh, decode = Weights(), world_model.tokenizer.decode
    seen = set()
    for sample in itertools.islice(samples(world_model, world_config), 12):
        assert len(sample.ids) == len(sample.weights) == len(sample.tags) == sample.positions.shape[1]
        learned = iter(
            [
                (decode([i]), w, t)
                for i, w, t in zip(sample.ids, sample.weights, sample.tags, strict=True)
                if w
            ]
        )
        for second in sample.chunks:
            words = second.sentence.split() if second.sentence else []
            for number, word in enumerate(words):
                last, tag = weigh.word, WORD
                if number == len(words) - 1:
                    last = {"back": weigh.memory_digit, "new": weigh.new_digit, "stops": weigh.word}.get(
                        second.kind, weigh.argument
                    )
                    tag = {"back": MEMORY_DIGIT, "new": NEW_DIGIT}.get(second.kind, WORD)
                assert next(learned) == (f" {word}", last, tag)
            quiet = (" ...", weigh.quiet, QUIET) if not words else (" ...", weigh.closing, NOT_LEARNED)
            assert next(learned) == quiet
            assert next(learned) == ("<|im_end|>", weigh.end_of_turn, NOT_LEARNED)
            seen.add(second.kind)
        assert next(learned, None) is None
    assert seen == {"new", "back", "stops", "goes", "gone", "silence"}


def test_a_forgotten_sentence_is_not_learned_as_silence(
    world_model: QwenVL, world_config: StreamConfig
) -> None:
    for sample in itertools.islice(samples(world_model, world_config, forget=1.0), 4):
        quiet = sum(second.sentence is None for second in sample.chunks)
        assert sum(weight > 0 for weight in sample.weights) == 2 * quiet
        assert sample.tags.count(QUIET) == quiet


def test_equal_draws_are_equal_samples(world_model: QwenVL, world_config: StreamConfig) -> None:
    draw = sampler(world_model, world_config, forget=0.3)
    one, two, other = (draw.sample(np.random.default_rng(seed), 3) for seed in (0, 0, 1))
    assert (one.ids, one.weights) == (two.ids, two.weights)
    assert one.ids != other.ids
