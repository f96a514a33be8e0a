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

"""Clips of the synthetic world, as a folder of annotated videos would give them."""

from __future__ import annotations

import itertools

from svlm_core.training.clip import Clip, Round
from svlm_core.training.finetune_recipe import WorldData
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds
from torch.utils.data import Dataset


class WorldClips(Dataset[Clip]):
    """Clip i is made of (data.seed, i) alone."""

    def __init__(self, data: WorldData) -> None:
        """Describe the clips; none is made yet."""
        self._data = data
        self._stride_s = data.clip_s - data.overlap_s
        self._per_stream = max(1, (data.stream_s - data.clip_s) // self._stride_s + 1)

    def __len__(self) -> int:
        """How many there are."""
        return self._data.clips

    def __getitem__(self, index: int) -> Clip:
        """Clip `index`; those of one stream come one behind the other."""
        stream, place = divmod(index, self._per_stream)
        seed, begin = self._data.seed + stream, place * self._stride_s
        told = list(itertools.islice(seconds(seed), begin + self._data.clip_s))
        renderer = Renderer(seed)
        rounds = [Round(renderer.frames(second), second.sentence or "") for second in told[begin:]]
        before = "".join(f" {second.sentence}" for second in told[:begin] if second.sentence)
        name = f"world {seed} at {begin} s"
        return Clip(name, rounds, before if self._data.previous_text else "", begin)
