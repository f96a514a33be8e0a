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

"""The streaming cache against the slow oracle: logits, retained ids and positions, chunk by chunk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from random_models import FAMILIES, write_random_model
from slow_oracle import SlowOracle
from svlm_core.cache.context import CachedContext
from svlm_core.config import POLICIES, StreamConfig
from svlm_core.frames import Chunk, Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.stream.positions import place
from svlm_core.stream.query import Query
from svlm_core.stream.session import StreamSession
import torch

log = logging.getLogger(__name__)  # --log-cli-level=INFO shows the figures of docs/benchmarks.md

BOUND = 1e-3  # float32
LONG = 320  # chunks
SIDE_PX = 56  # four visual tokens


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights ten times the usual, so that attention is sharp and a misplaced key is seen in the logits."""
    return write_random_model(tmp_path_factory.mktemp("sharp") / "model", initializer_range=0.2)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> StreamModel:
    return load_model(str(checkpoint))


class Stream:
    """A seeded stream of frames and forced words through a session and through the oracle."""

    def __init__(
        self, model: StreamModel, config: StreamConfig, seed: int = 0, oracle: StreamConfig | None = None
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.model, self.config = model, config
        self.logits: list[torch.Tensor] = []
        self.script: list[int] = []
        self.session = StreamSession(model, config, self._choose)
        self.oracle = SlowOracle(model, oracle or config)
        self.chunk = -1
        self.evictions = self.rebased = self.moved = 0

    def reprompt(self, prompt: str) -> None:
        """Another prompt, while the stream runs."""
        self.config = self.config.replace({"prompt": prompt}, "test")
        self.session.reconfigure(self.config)
        self.oracle = self.oracle.anew(self.config)

    def step(self, gap: int = 0, query: str = "") -> float:
        """One chunk; the largest difference of any logit. `gap` chunks before it are missing."""
        self.chunk += 1 + gap
        pictures = self.rng.integers(0, 256, (2, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        self.script = self._words()
        self.logits.clear()
        chunk = Chunk(self.chunk, tuple(Frame(k, picture) for k, picture in enumerate(pictures)))
        result = self.session.step(chunk, query=Query(query) if query else None)
        vision = self.model.preprocess(pictures, self.config.min_visual_tokens, self.config.max_visual_tokens)
        expected = self.oracle.step(self.chunk, vision, list(result.token_ids), query)
        self.rebased += self.session.context.origin < 0
        self.moved += bool(self.oracle.previous)
        got = torch.stack(self.logits)
        return float((got.float() - torch.stack(expected)).abs().max())

    def check_context(self) -> None:
        """Ids and positions of the retained tokens are the oracle's, to the last one."""
        context = self.session.context
        assert context.ids == [token.id for token in self.oracle.tokens()]
        places = torch.tensor(self.oracle.positions()).T[:, : context.cached_tokens]
        torch.testing.assert_close(context.positions, places, rtol=0, atol=1e-3)
        assert sorted(context.slots) == list(range(context.cached_tokens)), (
            "slots are not filled without holes"
        )

    def _choose(self, logits: torch.Tensor, context: torch.Tensor) -> int:
        self.logits.append(logits.clone())
        return self.script.pop(0)

    def _words(self) -> list[int]:
        """0 to max_new_tokens random words; then, with room, perhaps a silence mark and the end of turn."""
        protocol = self.oracle.protocol
        words = [
            int(i) for i in self.rng.integers(97, 123, self.rng.integers(0, self.config.max_new_tokens + 1))
        ]
        words += protocol.silence if self.rng.random() < 0.7 else []
        return [*words, protocol.end_of_turn][: self.config.max_new_tokens + len(protocol.silence) + 1]


def config(**changes: Any) -> StreamConfig:
    base = {
        "vision_window_s": 4.0,
        "text_sink_tokens": 6,
        "text_window_tokens": 20,
        "min_visual_tokens": 4,
        "max_visual_tokens": 4,
        "system_prompt": "sys",
        "prompt": "say",
        "previous_text": "once",
        "max_new_tokens": 6,
        "full_capacity_tokens": 4000,
    }
    return StreamConfig().replace({**base, **changes}, "test")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"vision_window_s": 9.0, "text_sink_tokens": 0, "text_window_tokens": 64},
        {"vision_window_s": 1.0},
        {"text_sink_tokens": 0, "text_window_tokens": 0},
        {"policy": "window", "vision_window_s": 7.0},
        {"policy": "last-frames"},
        {"policy": "window-recompute"},
        {"policy": "native-positions"},
    ],
    ids=[
        *("small", "wide", "one chunk", "no text", "restarting window", "last frames"),
        *("recomputed window", "native positions"),
    ],
)
def test_long_streams_equal_the_oracle(model: StreamModel, changes: dict[str, Any]) -> None:
    stream = Stream(model, config(**changes))
    worst = 0.0
    # native positions grow, and the rounding of float32 angles with them: right for a while only
    chunks = 100 if stream.config.policy == "native-positions" else LONG
    for _ in range(chunks):
        worst = max(worst, stream.step())
    stream.check_context()
    assert stream.oracle.evicted
    if stream.config.policy == "streaming":
        if stream.config.window_chunks > 1:  # else no recent chunk is left to stay where it is
            assert stream.rebased > LONG // 2, "the stream was too short to be re-based"
        assert stream.moved or stream.config.text_window_tokens == 0
    log.info("%d chunks, %s: max |d logit| %.1e", chunks, changes, worst)
    assert worst <= BOUND


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    policy=st.sampled_from(POLICIES),
    window_s=st.integers(1, 6),
    sink=st.integers(0, 12),
    text=st.integers(0, 30),
    most=st.integers(1, 8),
    prompt=st.sampled_from(["", "what?"]),
    previous=st.sampled_from(["", "\n it began long ago, with more words than the window holds"]),
    gaps=st.lists(st.integers(0, 3), min_size=14, max_size=14),
    seed=st.integers(0, 99),
)
def test_any_settings_equal_the_oracle(
    model: StreamModel,
    policy: str,
    window_s: int,
    sink: int,
    text: int,
    most: int,
    prompt: str,
    previous: str,
    gaps: list[int],
    seed: int,
) -> None:
    changes = {
        "policy": policy,
        "vision_window_s": float(window_s),
        "text_sink_tokens": sink,
        "text_window_tokens": text,
        "max_new_tokens": most,
        "prompt": prompt,
        "previous_text": previous,
    }
    stream = Stream(model, config(**changes), seed)
    for gap in gaps:
        assert stream.step(gap) <= BOUND
        stream.check_context()


@pytest.mark.parametrize("policy", POLICIES)
def test_questions_and_new_prompts_equal_the_oracle(model: StreamModel, policy: str) -> None:
    stream = Stream(model, config(policy=policy), seed=1)
    forgotten = False
    for index in range(60):
        if index in (17, 29, 30, 47):
            stream.reprompt("" if index == 29 else f"speak about {index}")
        assert stream.step(gap=index % 11 == 5, query="how many?" * (index % 3)) <= BOUND
        stream.check_context()
        forgotten |= len(stream.oracle.previous) == 26
    if policy in ("streaming", "native-positions"):
        assert forgotten, "the old text never was longer than may stay"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_the_oracle(tmp_path: Path, family: str, policy: str) -> None:
    model = load_model(str(write_random_model(tmp_path / family, family, initializer_range=0.2)))
    stream = Stream(model, config(policy=policy))
    for _ in range(30):
        assert stream.step() <= BOUND
    stream.check_context()
    assert bool(stream.rebased) == (policy == "streaming")


@torch.no_grad()
def test_equals_one_plain_forward_until_something_is_evicted(model: StreamModel) -> None:
    stream = Stream(model, config(vision_window_s=12.0))
    recorded: list[tuple[int, torch.Tensor]] = []
    for _ in range(12):
        assert stream.step() <= BOUND
        cached = stream.session.context.cached_tokens
        recorded.append((cached, stream.logits[-1]))
    assert not stream.oracle.evicted
    worst = 0.0
    context = stream.session.context
    ids = torch.tensor(context.ids)
    embeds = model.embed(ids)
    features = [token.features[0] for token in stream.oracle.tokens() if token.features]
    embeds[ids == model.video_token_id] = torch.stack(features)
    positions, _ = place(context.segments, 0.0, lambda grid, base: model.vision_positions(grid, base, 1.0))
    everything = model.head(model.hidden(embeds[None], positions[:, None]))[0]  # [L, vocabulary]
    for cached, logits in recorded:
        worst = max(worst, float((logits - everything[cached - 1]).abs().max()))
    log.info("against one plain forward: max |d logit| %.1e", worst)
    assert worst <= BOUND


def test_bfloat16_errors_do_not_grow_with_age(checkpoint: Path) -> None:
    stream = Stream(load_model(str(checkpoint), dtype="bfloat16"), config())
    errors = [stream.step() for _ in range(LONG)]
    early, late = np.mean(errors[20:60]), np.mean(errors[-40:])
    log.info("bfloat16: mean error %.4f around chunk 40, %.4f around chunk %d", early, late, LONG - 20)
    assert late <= early * 1.15, (
        f"mean error {early:.3f} around chunk 30, {late:.3f} around chunk {LONG - 20}"
    )


def test_control_an_eviction_without_rotation_is_seen(
    model: StreamModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move_only(self: CachedContext) -> None:
        head = self._head_tokens()
        self._positions[:, :head] = np.arange(head) + self.origin

    monkeypatch.setattr(CachedContext, "_rotate_head", move_only)
    stream = Stream(model, config())
    worst = max(stream.step() for _ in range(12))
    log.info("eviction without rotation: max |d logit| %.1e", worst)
    assert worst > 10 * BOUND


@pytest.mark.parametrize(
    "changed", [{"vision_window_s": 5.0}, {"text_window_tokens": 21}, {"text_sink_tokens": 7}]
)
def test_control_a_window_off_by_one_is_seen(model: StreamModel, changed: dict[str, Any]) -> None:
    stream = Stream(model, config(**changed), oracle=config())
    worst = max(stream.step() for _ in range(16))
    log.info("%s in place of the oracle's: max |d logit| %.1e", changed, worst)
    assert worst > 10 * BOUND
