"""Choosing the next token."""

from __future__ import annotations

import torch
from torch import Tensor

from svlm_core.config import StreamConfig


class Sampler:
    """Repetition penalty, temperature, top-k and top-p, in transformers' order; has its own random state."""

    def __init__(self, config: StreamConfig, device: torch.device) -> None:
        """Seed the random state from the configuration."""
        self._config = config
        self._generator = torch.Generator(device).manual_seed(config.sampling_seed)

    def __call__(self, logits: Tensor, context: Tensor) -> int:
        """Pick a token.

        Args:
            logits: float32 [vocabulary].
            context: int64 [N], the ids whose repetition is penalised (Keskar et al. 2019, arXiv 1909.05858).
        """
        config = self._config
        if config.repetition_penalty != 1.0:
            seen = torch.unique(context)
            score = logits[seen]
            logits = logits.clone()
            penalty = config.repetition_penalty
            logits[seen] = torch.where(score > 0, score / penalty, score * penalty)
        if config.temperature == 0.0:
            return int(logits.argmax())
        logits = logits / config.temperature
        if 0 < config.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(config.top_k).values[-1], -torch.inf)
        if config.top_p < 1.0:
            ordered, index = logits.sort(descending=True)
            mass_before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
            logits = logits.index_fill(0, index[mass_before > config.top_p], -torch.inf)
        return int(torch.multinomial(logits.softmax(-1), 1, generator=self._generator))
