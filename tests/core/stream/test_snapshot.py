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

"""A stream that is saved and loaded goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from small_stream import chunk_at, small_config
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
from svlm_core.stream.snapshot import load_stream, save_stream
import torch

POLICIES = ("streaming", "full", "window", "native-positions", "last-frames")


def said(session: StreamSession, first: int, count: int) -> list[tuple[int, ...]]:
    return [session.step(chunk_at(index)).token_ids for index in range(first, first + count)]


def sampled(policy: str, seed: int = 5) -> StreamConfig:
    """Sampled, so that the slightest difference of the random state shows."""
    changes = {"temperature": 1.5, "repetition_penalty": 1.3, "full_capacity_tokens": 2048}
    return small_config(policy=policy, sampling_seed=seed, **changes)


@settings(max_examples=15, deadline=None)
@given(policy=st.sampled_from(POLICIES), before=st.integers(1, 14), after=st.integers(1, 8))
def test_it_goes_on_to_the_same_words(
    small_model: StreamModel, tmp_path_factory: pytest.TempPathFactory, policy: str, before: int, after: int
) -> None:
    file = tmp_path_factory.mktemp("saved") / "stream.safetensors"
    whole = StreamSession(small_model, sampled(policy))
    said(whole, 0, before)
    save_stream(whole, file, {"seen": torch.arange(before)}, {"chunk": before})
    later = StreamSession(small_model, sampled(policy))
    beside, notes = load_stream(later, file)
    assert notes == {"chunk": before} and beside["seen"].tolist() == list(range(before))
    assert later.said_text == whole.said_text and later.cache_tokens == whole.cache_tokens
    with torch.inference_mode():
        assert later.context.counts.equal(whole.context.counts)
    assert said(later, before, after) == said(whole, before, after)
    assert later.context.ids == whole.context.ids
    assert later.context.positions.equal(whole.context.positions)


def test_what_does_not_belong_is_refused(small_model: StreamModel, tmp_path: Path) -> None:
    file = tmp_path / "stream.safetensors"
    session = StreamSession(small_model, sampled("streaming"))
    with pytest.raises(RuntimeError, match="from the first chunk on"):
        save_stream(session, file)
    said(session, 0, 2)
    save_stream(session, file)
    other = StreamSession(small_model, sampled("streaming", seed=6))
    with pytest.raises(ConfigError, match=r"stream\.safetensors: the stream was frozen with other settings"):
        load_stream(other, file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ConfigError, match="not a stream of this model"):
        load_stream(session, file)
    recomputing = StreamSession(small_model, sampled("window-recompute"))
    said(recomputing, 0, 1)
    with pytest.raises(ConfigError, match="window-recompute cannot be saved"):
        save_stream(recomputing, file)
