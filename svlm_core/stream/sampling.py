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

"""Choosing the next token, on the model's device."""

from __future__ import annotations

from svlm_core.config import StreamConfig
import torch
from torch import Tensor


class Sampler:
    """Repetition penalty, temperature, top-k and top-p, in transformers' order; has its own random state.

    Attributes:
        config: the settings; others may take their place between two choices, the random state goes on.
    """

    def __init__(self, config: StreamConfig, device: torch.device) -> None:
        """Seed the random state from the configuration."""
        self.config = config
        self._generator = torch.Generator(device).manual_seed(config.sampling_seed)

    @property
    def random_state(self) -> Tensor:
        """The random state, uint8; to be set on a sampler on the same kind of device only."""
        return self._generator.get_state()

    @random_state.setter
    def random_state(self, state: Tensor) -> None:
        self._generator.set_state(state.cpu())

    def __call__(self, logits: Tensor, counts: Tensor) -> Tensor:
        """Pick a token; nothing is read back to the CPU.

        Args:
            logits: float32 [vocabulary].
            counts: int32 [vocabulary]; the repetition of ids whose count is positive is penalised
                (Keskar et al. 2019, arXiv 1909.05858).

        Returns:
            int64 scalar, on the device of the logits.
        """
        config = self.config
        if config.repetition_penalty != 1.0:
            penalty = config.repetition_penalty
            lower = torch.minimum if penalty > 1 else torch.maximum  # whatever the sign of a score
            penalised = lower(logits / penalty, logits * penalty)
            logits = torch.where(counts > 0, penalised, logits)
        if config.temperature == 0.0:
            return logits.argmax()
        logits = logits / config.temperature
        if 0 < config.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(config.top_k).values[-1], -torch.inf)
        if config.top_p < 1.0:
            ordered, index = logits.sort(descending=True)
            mass_before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
            beyond = torch.zeros_like(logits, dtype=torch.bool).scatter_(0, index, mass_before > config.top_p)
            logits = logits.masked_fill(beyond, -torch.inf)
        # torch.multinomial's own way, without its checks, which would wait for a GPU
        chances = logits.softmax(-1)
        return chances.div_(torch.empty_like(chances).exponential_(generator=self._generator)).argmax()
