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

"""The sampler against transformers' own processors."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from properties import invariant
import pytest
from svlm_core.config import StreamConfig
from svlm_core.stream.sampling import Sampler
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCABULARY = 50
CPU = torch.device("cpu")
NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}


def sampler(**changes: Any) -> Sampler:
    return Sampler(StreamConfig(**{**NEUTRAL, **changes}), CPU)


def example(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [vocabulary] and ids in the context, some of them twice."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(VOCABULARY, generator=generator)
    return logits, torch.randint(0, VOCABULARY, (20,), generator=generator)


def counted(context: torch.Tensor, vocabulary: int = VOCABULARY) -> torch.Tensor:
    """How often each id is in the context."""
    return context.bincount(minlength=vocabulary).int()


@invariant
@given(
    seed=st.integers(0, 1000),
    penalty=st.sampled_from([1.0, 1.05, 1.5, 0.8]),
    temperature=st.sampled_from([0.3, 0.9, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 5, 49, 50, 500]),
    top_p=st.sampled_from([1.0, 0.95, 0.6, 0.1, 0.001]),
)
def test_samples_what_transformers_would(
    seed: int, penalty: float, temperature: float, top_k: int, top_p: float
) -> None:
    logits, context = example(seed)
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(penalty),
            TemperatureLogitsWarper(temperature),
            TopKLogitsWarper(min(top_k or VOCABULARY, VOCABULARY)),
            TopPLogitsWarper(top_p),
        ]
    )
    ids: Any = context[None]  # typed as a LongTensor, which nothing is
    probabilities = processors(ids, logits[None].clone()).softmax(-1)
    generator = torch.Generator().manual_seed(seed)
    expected = [int(torch.multinomial(probabilities, 1, generator=generator)) for _ in range(10)]
    ours = sampler(
        repetition_penalty=penalty, temperature=temperature, top_k=top_k, top_p=top_p, sampling_seed=seed
    )
    assert [int(ours(logits, counted(context))) for _ in range(10)] == expected


@invariant
@given(seed=st.integers(0, 1000), penalty=st.sampled_from([1.0, 1.05, 1.5]))
def test_at_temperature_zero_the_likeliest_after_the_penalty_is_taken(seed: int, penalty: float) -> None:
    logits, context = example(seed)
    scores = RepetitionPenaltyLogitsProcessor(penalty)(context[None], logits[None].clone())
    assert sampler(temperature=0.0, repetition_penalty=penalty)(logits, counted(context)) == int(
        scores.argmax()
    )


@pytest.mark.parametrize("logits", [[2.0, 1.9, 0.0], [-1.0, -1.1, -9.0]], ids=["positive", "negative"])
def test_a_repeated_token_loses_against_a_close_second(logits: list[float]) -> None:
    greedy = sampler(temperature=0.0, repetition_penalty=1.2)
    assert greedy(torch.tensor(logits), torch.zeros(3, dtype=torch.int32)) == 0
    assert greedy(torch.tensor(logits), counted(torch.tensor([0, 0]), 3)) == 1


def test_a_nucleus_of_nothing_keeps_the_likeliest() -> None:
    logits, context = example(0)
    assert {int(sampler(top_p=0.0, sampling_seed=k)(logits, counted(context))) for k in range(20)} == {
        int(logits.argmax())
    }


def test_the_models_logits_are_left_as_they_are() -> None:
    logits, context = example(0)
    before = logits.clone()
    sampler(repetition_penalty=1.5, temperature=0.5, top_k=4, top_p=0.5)(logits, counted(context))
    assert torch.equal(logits, before)


def test_the_seed_alone_decides() -> None:
    logits, context = example(0)

    def draws(seed: int) -> list[int]:
        ours = sampler(sampling_seed=seed, temperature=2.0)
        torch.manual_seed(len(runs))  # the global random state must not matter
        return [int(ours(logits, counted(context))) for _ in range(30)]

    runs: list[list[int]] = []
    for seed in (1, 1, 2):
        runs.append(draws(seed))
    assert runs[0] == runs[1] != runs[2]
