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

"""The packed decoder over cached streams, against transformers' own forward over the whole sequence.

What goes in is what streaming makes: our protocol's tokens, our positions, in pieces. transformers gets the
ids, the pixels and the grids, and works the positions out by its own rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from random_models import FAMILIES, write_random_model
from svlm_core.cache.segments import Role, Segment
from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.model.decoder import Piece, Visual
from svlm_core.model.load import load_model
from svlm_core.stream.positions import place
from svlm_core.stream.protocol import Protocol
import torch

# One position for Qwen2.5-VL at two tokens per second: transformers cuts fractions off, and behind a block
# that is longer in time than in space it goes on at a position inside of it; the reference went on behind.
STEP_S = 0.5
CAPACITY = 400
BOUND = 1e-4  # float32
ROWS = 16  # products padded to a multiple of this do not depend on who else is in the batch
SIZES = [(56, 56), (84, 56), (56, 112)]  # of the chunks' frames; other shapes come out of the square families


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    """Weights ten times the usual, so that a token at a wrong place is seen in the logits."""
    folder = tmp_path_factory.mktemp("sharp") / request.param
    text = {"initializer_range": 0.2, "num_hidden_layers": 3}  # DeepStack adds to the first two
    return load_model(str(write_random_model(folder, request.param, **text)))


class Store:
    """The simplest cache the decoder can write to."""

    def __init__(self, model: StreamModel) -> None:
        self.kv = torch.full((2, model.layers, model.kv_heads, CAPACITY, model.head_dim), torch.nan)
        self.length = 0


@dataclass
class Stream:
    """A rendered stream: its segments and, of each chunk, the frames as the tower takes them."""

    segments: list[Segment]
    visions: list[VisionInput]

    @property
    def ids(self) -> list[int]:
        return [i for segment in self.segments for i in segment.ids]


@torch.inference_mode()
def render(model: StreamModel, chunks: int, frames: int = 2, seed: int = 0) -> Stream:
    """The head, then chunks of `frames` frames with a spoken answer; the last answer is not yet spoken."""
    rng = np.random.default_rng(seed)
    config = StreamConfig(system_prompt="sys", prompt="say", previous_text="once")
    protocol = Protocol.from_config(config, model.tokenizer, model.dialect)
    segments = protocol.head(config, protocol.words(" once"))
    visions: list[VisionInput] = []
    for chunk in range(chunks):
        rgb = rng.integers(0, 256, (frames, *SIZES[(chunk + seed) % len(SIZES)], 3), dtype=np.uint8)
        vision = model.preprocess(rgb, 4, 8)
        features = model.encode_vision(vision)
        user = protocol.user(chunk, 1.0, vision.grid, vision.tokens)
        for segment in user:
            assert segment.vision is not None
            segment.features, features = features.split(
                [segment.vision.tokens, len(features) - segment.vision.tokens]
            )
        assert not len(features), "the segments do not hold all visual tokens"
        segments += [*user, protocol.answer_open(chunk)]
        if chunk < chunks - 1:
            segments.append(Segment(Role.SPEECH, chunk, protocol.answer(f"word {chunk}")))
        visions.append(vision)
    return Stream(segments, visions)


def pieces(model: StreamModel, stream: Stream, store: Store, shift: float = 0.0) -> list[Piece]:
    """Each segment as one piece, speech token by token; visual blocks `shift` away from where they belong."""
    parts, base = [], 0.0
    for segment in stream.segments:
        positions, base = place(
            [segment], base, lambda grid, at: model.vision_positions(grid, at + shift, STEP_S)
        )
        visual: tuple[Visual, ...] = ()
        if segment.vision is not None:
            assert segment.features is not None
            visual = (Visual(segment.vision.start, segment.features),)
        ids = torch.tensor(segment.ids)
        if segment.role is Role.SPEECH:
            parts += [Piece(ids[i : i + 1], positions[:, i : i + 1], store) for i in range(len(ids))]
        elif len(ids):
            parts.append(Piece(ids, positions, store, visual))
    return parts


@torch.inference_mode()
def streamed(model: StreamModel, stream: Stream, shift: float = 0.0) -> tuple[list[int], torch.Tensor]:
    """Indices of the pieces' last tokens, and the logits there."""
    store = Store(model)
    ends, logits = [], []
    for piece in pieces(model, stream, store, shift):
        logits.append(model.head(model.decoder([piece])))
        store.length += len(piece.ids)
        ends.append(store.length - 1)
    assert store.length == len(stream.ids)
    return ends, torch.cat(logits)


@torch.inference_mode()
def transformers_own(model: StreamModel, stream: Stream) -> torch.Tensor:
    """Logits [L, vocabulary] of one forward pass that is given ids, pixels and grids alone."""
    hf: Any = model.hf
    ids = torch.tensor([stream.ids])
    if not stream.visions:
        return hf(input_ids=ids).logits[0]
    pixels = torch.cat([vision.patches for vision in stream.visions])
    if hf.config.model_type == "smolvlm":
        return hf(input_ids=ids, pixel_values=pixels[None]).logits[0]
    inputs = {
        "pixel_values_videos": pixels,
        "video_grid_thw": torch.tensor([vision.grid for vision in stream.visions]),
        "mm_token_type_ids": torch.where(ids == model.video_token_id, 2, 0),
    }
    if hf.config.model_type == "qwen2_5_vl":
        inputs["second_per_grid_ts"] = torch.full((len(stream.visions),), STEP_S)
    return hf(input_ids=ids, **inputs).logits[0]


@pytest.mark.parametrize(
    ("chunks", "frames"),
    [(0, 0), (1, 1), (1, 2), (4, 2), (3, 4)],
    ids=["words", "one frame", "one chunk", "four chunks", "several steps a chunk"],
)
def test_in_pieces_equals_transformers_in_one(model: StreamModel, chunks: int, frames: int) -> None:
    stream = render(model, chunks, frames)
    ends, logits = streamed(model, stream)
    expected = transformers_own(model, stream)
    assert (expected[1:] - expected[:-1]).abs().max() > 1, "the logits hardly depend on the tokens"
    torch.testing.assert_close(logits, expected[ends], rtol=0, atol=BOUND)


def test_control_a_picture_one_place_away_is_seen(model: StreamModel) -> None:
    stream = render(model, 2)
    ends, logits = streamed(model, stream, shift=1.0)
    assert (logits - transformers_own(model, stream)[ends]).abs().max() > 100 * BOUND


@pytest.mark.parametrize("least_rows", [1, ROWS])
@torch.inference_mode()
def test_streams_in_one_batch_do_not_touch_each_other(model: StreamModel, least_rows: int) -> None:
    """Two streams of other lengths, prefilling and decoding side by side; each as when it is alone."""
    streams = [render(model, 3, seed=1), render(model, 2, frames=3, seed=2)]
    alone: list[list[torch.Tensor]] = []
    for stream in streams:
        store = Store(model)
        alone.append([])
        for piece in pieces(model, stream, store):
            alone[-1].append(model.decoder([piece], least_rows))
            store.length += len(piece.ids)
    stores = [Store(model) for _ in streams]
    queues = [pieces(model, stream, store) for stream, store in zip(streams, stores, strict=True)]
    for step in range(max(len(queue) for queue in queues)):
        live = [number for number, queue in enumerate(queues) if step < len(queue)]
        together = model.decoder([queues[number][step] for number in live], least_rows)
        for row, number in zip(together, live, strict=True):
            stores[number].length += len(queues[number][step].ids)
            atol = 0.0 if least_rows > 1 else 1e-5
            torch.testing.assert_close(row[None], alone[number][step], rtol=0, atol=atol)
