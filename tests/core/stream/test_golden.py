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

"""Our session against the numbers of the published StreamingVLM code; see tests/data/golden/README.md."""

from __future__ import annotations

import logging

import golden
import numpy as np
import pytest
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
import torch

log = logging.getLogger(__name__)  # --log-cli-level=INFO shows the figures of docs/benchmarks.md

LOGITS_BOUND = 2e-4  # float32
RUNS = {"T1": (16.0, 512, 512), "T3": (4.0, 16, 16)}


class Forced:
    """Says the trace's tokens, whatever the logits are, and remembers logits and context."""

    session: StreamSession

    def __init__(self, trace: golden.Trace) -> None:
        self._tokens = iter([int(token) for chunk in trace.chunks for token in chunk.new])
        self.logits: list[torch.Tensor] = []
        self.contexts: list[list[int]] = []

    def __call__(self, logits: torch.Tensor, counts: torch.Tensor) -> int:
        self.logits.append(logits.clone())
        ids = torch.tensor(self.session.context.ids)
        assert torch.equal(counts, ids.bincount(minlength=len(counts))), (
            "the penalised ids are not the context"
        )
        self.contexts.append(ids.tolist())
        return next(self._tokens)


def chunk_of(index: int) -> Chunk:
    pictures = golden.frames(index)
    return Chunk(index, tuple(Frame(int((index + i / 2) * 1e9), rgb) for i, rgb in enumerate(pictures)))


@pytest.mark.parametrize("run", RUNS)
def test_reproduces_the_reference(run: str, golden_model: StreamModel) -> None:
    vision_window_s, sink, window = RUNS[run]
    trace = golden.load_trace(run)
    config = StreamConfig(
        protocol="streamingvlm",
        vision_window_s=vision_window_s,
        text_sink_tokens=sink,
        text_window_tokens=window,
        prompt=golden.QUERY,
        previous_text=golden.PREVIOUS_TEXT,
        max_new_tokens=5,
    )
    forced = Forced(trace)
    session = StreamSession(golden_model, config, forced)
    forced.session = session
    worst = 0.0
    for index, expected in enumerate(trace.chunks):
        result = session.step(chunk_of(index))
        np.testing.assert_array_equal(forced.contexts[0], expected.ids, f"ids of chunk {index}")
        assert result.prefill_tokens == expected.prefill_len
        assert result.cache_tokens == expected.kv_len
        np.testing.assert_array_equal(
            session.context.positions.numpy(), expected.pos, f"positions of chunk {index}"
        )
        logits = torch.stack(forced.logits)  # [5, vocabulary]
        top = logits.gather(1, torch.from_numpy(expected.top_i)).numpy()
        worst = max(worst, float(np.abs(top - expected.top_v).max()))
        np.testing.assert_allclose(top, expected.top_v, rtol=0, atol=LOGITS_BOUND)
        np.testing.assert_allclose(logits.logsumexp(1).numpy(), expected.lse, rtol=0, atol=LOGITS_BOUND)
        raw = logits[:, :: golden.LOGITS_STEP].numpy()
        worst = max(worst, float(np.abs(raw - expected.raw).max()))
        np.testing.assert_allclose(raw, expected.raw, rtol=0, atol=LOGITS_BOUND)
        forced.logits.clear()
        forced.contexts.clear()
    log.info("%s: ids and positions equal in %d chunks, max |d logit| %.1e", run, len(trace.chunks), worst)
    kept = trace.chunks[-1].kept_kv + trace.chunks[-1].prefill_len + 4
    assert session.cache_tokens == kept
