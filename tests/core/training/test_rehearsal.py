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

"""A rehearsed moment is the running stream: the same logits, computed again on top of the taken cache."""

from __future__ import annotations

import numpy as np
from svlm_core.model.load import load_model
from svlm_core.stream.defaults import stream_config
from svlm_core.training.objective import Objective
from svlm_core.training.recipe import Weights
from svlm_core.training.rehearsal import collate_moments, past_cache, Rehearsal
from svlm_core.world.scene import WorldConfig
import torch


class Recording(Rehearsal):
    """Keeps the session's own logits of every answer whose moment is taken."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.answers: list[list[torch.Tensor]] = []

    def _choose(self, logits: torch.Tensor, counts: torch.Tensor) -> int:
        if self._take:  # the first word of an answer that is about to be taken
            self.answers.append([])
        if self._take or self._taken is not None:
            self.answers[-1].append(logits.clone())
        return super()._choose(logits, counts)


def test_logits_of_taken_moments_are_the_sessions_own() -> None:
    model = load_model("tiny")
    rehearsal = Recording(model, stream_config(model), WorldConfig(lull=0.0), Weights(), 5)
    moments = rehearsal.moments(np.random.default_rng(0), 6)
    batch = collate_moments(moments, 0)
    ids, length = batch["input_ids"], batch["input_ids"].shape[1]
    cache, mask = past_cache(batch["past_keys"], batch["past_values"], batch["past_tokens"], length)
    with torch.no_grad():
        hidden = model.hidden(model.embed(ids), batch["positions"], cache, mask)
        logits = model.head(hidden)  # [B, 1 + L, vocabulary]
    assert len({moment.keys.shape[2] for moment in moments}) > 1, "padding was not put to the test"
    for row, answer in zip(logits, rehearsal.answers, strict=True):
        torch.testing.assert_close(row[: len(answer)], torch.stack(answer), rtol=0, atol=1e-3)


def test_gradients_reach_the_model_through_a_moment() -> None:
    model = load_model("tiny")
    rehearsal = Rehearsal(model, stream_config(model), WorldConfig(lull=0.0), Weights(), 6)
    batch = collate_moments(rehearsal.moments(np.random.default_rng(1), 3), 0)
    outputs = Objective(model, 0.0)(**batch)
    outputs["loss"].backward()
    query = model.hf.model.language_model.layers[0].self_attn.q_proj.weight.grad
    assert query is not None and query.abs().sum() > 0
    assert int(outputs["counts"][:, 1].sum()) == int((batch["weights"] > 0).sum())


def test_a_taken_cache_stays_as_it_was_while_the_stream_goes_on() -> None:
    model = load_model("tiny")

    def first_of(count: int) -> torch.Tensor:
        rehearsal = Rehearsal(model, stream_config(model), WorldConfig(lull=0.0), Weights(), 7)
        keys = rehearsal.moments(np.random.default_rng(2), count)[0].keys
        assert not keys.requires_grad and not keys.is_inference()
        return keys

    assert torch.equal(first_of(1), first_of(4))
