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

"""Batches of one stage: number -> tensors, the same at every run, so that a killed run resumes exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.protocol import Protocol
from svlm_core.training.copying import drill, recall, repeats
from svlm_core.training.recipe import Feed, Recipe, Stage
from svlm_core.training.rehearsal import collate_moments, Rehearsal
from svlm_core.training.samples import Sample, StreamSampler
from svlm_core.training.scenes import random_second
from svlm_core.training.tokenizer import SPECIAL_TOKENS
from svlm_core.world import FIRST_EVALUATION_SEED
from svlm_core.world.features import SymbolDictionary
from svlm_core.world.render import Renderer
from svlm_core.world.scene import WorldConfig, WorldSecond
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

SECONDS_PER_GRID_STEP = 1.0  # two frames at 2 FPS


class StageBatches(Dataset[dict[str, Tensor]]):
    """Item i is a whole batch, made from (seed, stage, i) alone."""

    def __init__(self, recipe: Recipe, number: int, model: StreamModel) -> None:
        """Prepare stage `number` of the recipe for this model."""
        self._recipe, self._number, self._stage = recipe, number, recipe.stages[number]
        self._model = model
        self._config: StreamConfig = recipe.stream_config
        self._streamed = self._config.replace(recipe.export, "export")
        self._padding = model.tokenizer.pad_token_id or 0
        self._protocol = Protocol.from_config(self._config, model.tokenizer, model.dialect)
        self._world = WorldConfig(renewal=self._stage.renewal)
        self._symbols = SymbolDictionary(model.hidden_size)

    def __len__(self) -> int:
        """Batches of all processes together."""
        return self._stage.steps * self._recipe.processes

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Batch `index`.

        Returns:
            input_ids int64 [B, L]; positions float32 [3, B, L]; weights float32 [B, L] and tags int64 [B, L]
            of each token as a target; features float32 [N, hidden]: the world's symbols for the N visual
            tokens; pixels float32 [N * merge^2, patch values]: their patches. Scenes lack the first four,
            text the last two.
        """
        rng = np.random.default_rng([self._recipe.seed, self._number, index])
        feed = self._choose(rng, index / len(self))
        if feed.kind == "scene":
            scene = [random_second(rng, i) for i in range(feed.size)]
            return self._pictures([(int(rng.integers(FIRST_EVALUATION_SEED)), scene)])
        if feed.kind == "rehearsal":
            seed = int(rng.integers(FIRST_EVALUATION_SEED))
            busy = replace(self._world, lull=0.0)  # nothing is learned while nothing happens
            rehearsal = Rehearsal(self._model, self._streamed, busy, self._stage.weights, seed)
            return collate_moments(rehearsal.moments(rng, feed.size), self._padding)
        samples = [self._sample(rng, feed) for _ in range(feed.size)]
        batch = _collate(samples, self._padding)
        seen = [(sample.seed, list(sample.chunks)) for sample in samples if sample.seed is not None]
        return {**batch, **self._pictures(seen)} if seen else batch

    def _choose(self, rng: np.random.Generator, progress: float) -> Feed:
        feeds = [feed for feed in self._stage.feeds if feed.start <= progress < feed.stop]
        shares = np.array([feed.share for feed in feeds])
        return feeds[rng.choice(len(feeds), p=shares / shares.sum())]

    def _sample(self, rng: np.random.Generator, feed: Feed) -> Sample:
        seed = int(rng.integers(FIRST_EVALUATION_SEED))
        if feed.kind == "repeat":
            return repeats(rng, len(SPECIAL_TOKENS), self._model.vocab_size)
        if feed.kind == "recall":
            return recall(rng, len(SPECIAL_TOKENS), self._model.vocab_size)
        if feed.kind == "drill":
            return drill(rng, seed, self._protocol, self._config, self._world)
        stage: Stage = self._stage
        sampler = StreamSampler(
            self._protocol,
            self._config,
            lambda grid, base: self._model.vision_positions(grid, base, SECONDS_PER_GRID_STEP),
            self._world,
            stage.weights,
            feed.chunk_s,
            feed.overlap_s,
            stage.forget,
            feed.previous_text,
        )
        return sampler.sample(rng, seed)

    def _pictures(self, seen: list[tuple[int, list[WorldSecond]]]) -> dict[str, Tensor]:
        """Symbols, and patches if the stage has pixels, of all seconds, joined in order."""
        symbols = [self._symbols.features(second) for _, chunk in seen for second in chunk]
        batch = {"features": torch.from_numpy(np.concatenate(symbols))}
        if self._stage.pixels:
            frames = []
            for seed, chunk in seen:
                renderer = Renderer(seed)
                frames += [renderer.frames(second) for second in chunk]
            tokens = self._config.min_visual_tokens, self._config.max_visual_tokens
            batch["pixels"] = self._model.preprocess(np.concatenate(frames), *tokens).patches
        return batch


def _collate(samples: list[Sample], padding: int) -> dict[str, Tensor]:
    """Pad on the right; padding is never attended to by real tokens (causal) and has no weight."""

    def pad(rows: list[Tensor], value: float) -> Tensor:
        return pad_sequence(rows, batch_first=True, padding_value=value)

    positions = pad([sample.positions.T for sample in samples], 0.0)  # [B, L, 3]
    return {
        "input_ids": pad([torch.tensor(sample.ids) for sample in samples], padding),
        "positions": positions.permute(2, 0, 1).contiguous(),
        "weights": pad([torch.tensor(sample.weights) for sample in samples], 0.0),
        "tags": pad([torch.tensor(sample.tags) for sample in samples], 0),
    }
