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

"""A clip's tokens, positions and logits are those of a stream that is told what to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from random_models import FAMILIES, write_random_model
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.frames import Chunk, Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.model.dialect import QWEN
from svlm_core.model.load import load_model
from svlm_core.stream.query import Query
from svlm_core.stream.session import StreamSession
from svlm_core.training.clip import Clip, Rendered, Renderer, Round
from svlm_core.training.packing import pack
from svlm_core.training.spoken_loss import batch, SpokenLoss
import torch
from torch import Tensor

BOUND = 1e-4
CONFIG = StreamConfig(
    text_sink_tokens=6,
    text_window_tokens=20,
    min_visual_tokens=4,
    max_visual_tokens=4,
    prompt="Say what you see.",
    max_new_tokens=64,
)
WORDS = ["A ball rolls in.", "", "It stops.", ""]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    return load_model(str(write_random_model(tmp_path_factory.mktemp(request.param) / "m", request.param)))


def clip(words: Sequence[str] = WORDS, previous: str = "", seed: int = 0, query: str = "") -> Clip:
    noise = np.random.default_rng(seed)
    rounds = [
        Round(noise.integers(0, 256, (2, 56, 56, 3), dtype=np.uint8), said, query if i == 1 else "")
        for i, said in enumerate(words)
    ]
    return Clip("noise", rounds, previous)


class Told:
    """A session whose words are the clip's."""

    def __init__(self, model: StreamModel, config: StreamConfig, clip: Clip) -> None:
        self.logits: list[Tensor] = []
        self.said: list[int] = []
        self._script: list[int] = []
        self.session = StreamSession(model, config, self._choose)
        encode = model.tokenizer.encode
        for number, turn in enumerate(clip.rounds):
            text = f" {turn.words} ..." if turn.words else " ..."
            end = model.tokenizer.convert_tokens_to_ids(model.dialect.end_of_turn)
            self._script = [*encode(text, add_special_tokens=False), end]
            frames = tuple(Frame(k, rgb) for k, rgb in enumerate(turn.frames))
            self.session.step(Chunk(number, frames), query=Query(turn.query) if turn.query else None)

    def _choose(self, logits: Tensor, context: Tensor) -> int:
        self.logits.append(logits.clone())
        self.said.append(self._script[0])
        return self._script.pop(0)


def logits_of(model: StreamModel, rendered: Rendered) -> Tensor:
    features = torch.cat([model.encode_vision(vision) for vision in rendered.vision])
    hidden = model.understand(rendered.ids[None], features, rendered.positions[:, None])
    return model.head(hidden[0])


@pytest.mark.parametrize("protocol", ["svlm", "streamingvlm"])
@torch.no_grad()
def test_what_is_learned_is_what_streaming_computes(model: StreamModel, protocol: str) -> None:
    if protocol == "streamingvlm" and model.dialect != QWEN:
        pytest.skip("the token stream of checkpoints of another family")
    config = CONFIG.replace({"protocol": protocol, "previous_text": "A door opened."}, "test")
    given = clip(previous="A door opened.", query="What colour?")
    rendered = Renderer(model, config).render(given)
    told = Told(model, config, given)
    context = told.session.context
    assert rendered.ids.tolist() == context.ids
    torch.testing.assert_close(
        context.positions, rendered.positions[:, : context.cached_tokens], rtol=0, atol=1e-3
    )
    learned = rendered.spoken.nonzero().flatten()
    assert rendered.ids[learned].tolist() == told.said
    difference = torch.stack(told.logits) - logits_of(model, rendered)[learned - 1]
    assert float(difference.abs().max()) <= BOUND


def test_previous_text_is_cut_as_streaming_cuts_it(model: StreamModel) -> None:
    """Streamed until the text window is full: the head is the one that the clip's old text gives."""
    config = CONFIG.replace({"vision_window_s": 1.0, "prompt": ""}, "test")
    words = [f"Event number {i} happens." for i in range(6)]
    context = Told(model, config, clip(words)).session.context
    old = "".join(f" {said}" for said in words[:-1])
    last = Clip("last", clip(words).rounds[-1:], old, first_chunk=5)
    rendered = Renderer(model, config).render(last)
    assert len(model.tokenizer.encode(old)) > config.text_sink_tokens + config.text_window_tokens
    assert rendered.ids.tolist() == context.ids


@torch.no_grad()
def test_packed_clips_do_not_see_each_other(model: StreamModel) -> None:
    renderer = Renderer(model, CONFIG)
    clips = [renderer.render(clip(WORDS[: 2 + i], "Before." * i, seed=i)) for i in range(3)]
    loss = SpokenLoss(model)
    alone = [loss(**batch(pack([each], 0.5))) for each in clips]
    weights = [float(pack([each], 0.5).weights.sum()) for each in clips]
    expected = sum(w * float(out["loss"]) for w, out in zip(weights, alone, strict=True)) / sum(weights)
    together = loss(**batch(pack(clips, 0.5)))
    assert abs(float(together["loss"]) - expected) <= 1e-5
    assert int(together["learned"]) == sum(int(out["learned"]) for out in alone)
    assert int(together["right"]) == sum(int(out["right"]) for out in alone)


def test_a_clip_without_rounds_is_refused(model: StreamModel) -> None:
    with pytest.raises(ConfigError, match="empty at 3 s: a clip without rounds"):
        Renderer(model, CONFIG).render(Clip("empty at 3 s", []))
