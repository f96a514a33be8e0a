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

"""The loss: what the model should say, weighted per token, and what its eyes should see."""

from __future__ import annotations

from svlm_core.model.adapter import StreamModel
from svlm_core.model.vision import VisionInput
from svlm_core.training.rehearsal import past_cache
from svlm_core.training.samples import TAGS, VISUAL_TOKENS
import torch
from torch import nn, Tensor
from torch.nn import functional

_SYMBOL_NOISE = 0.03  # about what the trained vision tower misses the symbols by


class Objective(nn.Module):
    """A model with its loss, as one module, so that data parallelism wraps both."""

    def __init__(self, model: StreamModel, feature_weight: float) -> None:
        """Wrap `model.hf`; `feature_weight` scales the regression of the world's symbols."""
        super().__init__()
        self.hf = model.hf
        self._model, self._feature_weight = model, feature_weight

    def forward(
        self,
        input_ids: Tensor | None = None,
        positions: Tensor | None = None,
        weights: Tensor | None = None,
        tags: Tensor | None = None,
        features: Tensor | None = None,
        pixels: Tensor | None = None,
        past_keys: Tensor | None = None,
        past_values: Tensor | None = None,
        past_tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Arguments as made by StageBatches.

        Returns:
            loss: scalar. counts: int64 [tags, 2], learned tokens that were right and all of them, by tag.
        """
        device = next(self.parameters()).device
        loss = torch.zeros((), device=device)
        counts = torch.zeros(max(TAGS) + 1, 2, dtype=torch.long, device=device)
        seen = features
        if pixels is not None and features is not None:
            merge_area = len(pixels) // len(features)
            side = round((merge_area * VISUAL_TOKENS) ** 0.5)
            grid = (len(pixels) // side**2, side, side)
            seen = self._model.encode_vision(VisionInput(pixels, grid, round(merge_area**0.5)))  # [N, hidden]
            loss = loss + self._feature_weight * (seen - features).square().sum(-1).mean()
        elif features is not None:
            seen = features + _SYMBOL_NOISE * torch.randn_like(features)
        if input_ids is None or positions is None or weights is None or tags is None:
            return {"loss": loss, "counts": counts}
        embeds = self._model.embed(input_ids)  # [B, L, hidden]
        if seen is not None:
            visual = (input_ids == self._model.video_token_id)[..., None].expand_as(embeds)
            embeds = embeds.masked_scatter(visual, seen)
        cache = mask = None
        if past_keys is not None and past_values is not None and past_tokens is not None:
            cache, mask = past_cache(past_keys, past_values, past_tokens, input_ids.shape[1])
        hidden = self._model.hidden(embeds, positions, cache, mask)  # [B, L, hidden]
        learned = weights[:, 1:] > 0
        logits = self._model.head(hidden[:, :-1][learned])  # [M, vocabulary]
        targets, weight, tag = input_ids[:, 1:][learned], weights[:, 1:][learned], tags[:, 1:][learned]
        loss = (
            loss + (functional.cross_entropy(logits, targets, reduction="none") * weight).sum() / weight.sum()
        )
        right = (logits.argmax(-1) == targets).long()
        counts[:, 0].index_add_(0, tag, right)
        counts[:, 1].index_add_(0, tag, torch.ones_like(right))
        return {"loss": loss, "counts": counts}
