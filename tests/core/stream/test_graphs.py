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

"""Decode steps at static shapes against the ordinary decoder, and, on a GPU, under graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from random_models import FAMILIES, write_random_model
from small_stream import chunk_at, small_config
from svlm_core.cache.arena import KVArena
from svlm_core.cache.pool import KVPool, KVPools
from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel
from svlm_core.model.decoder import Piece, Visual
from svlm_core.model.load import load_model
from svlm_core.stream.graphs import capture, GraphDecoder, StepInputs
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.runner import Runner, Work
from svlm_core.stream.session import StreamSession
import torch

BOUND = 1e-5
CAPACITY = 40
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="captures a CUDA graph")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    """Each family with four query heads over two key heads; large weights, so that places matter."""
    folder: Path = tmp_path_factory.mktemp("graphs") / request.param
    heads = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    return load_model(str(write_random_model(folder, request.param, **heads)))


def pools(model: StreamModel, rows: int = 4) -> KVPools:
    return KVPools(rows, model.layers, model.kv_heads, model.head_dim, model.dtype, model.device)


def apart(model: StreamModel) -> Callable[[int], KVArena]:
    """Makes arenas that are in no pool, so no graph can take them."""

    def allocate(capacity: int) -> KVArena:
        return KVArena(model.layers, model.kv_heads, model.head_dim, capacity, model.dtype, model.device)

    return allocate


def piece(model: StreamModel, store: KVArena, tokens: int, seed: int) -> Piece:
    """Random tokens behind what is in the store, the three axes of their positions at odds."""
    noise = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 200, (tokens,), generator=noise)
    positions = torch.rand(3, tokens, generator=noise) * 3 + torch.arange(tokens) + store.length
    return Piece(ids.to(model.device), positions.to(model.device), store)


def fill(model: StreamModel, stores: Sequence[KVArena], tokens: Sequence[int]) -> None:
    """Prefill each store with its own number of tokens."""
    for seed, (store, count) in enumerate(zip(stores, tokens, strict=True)):
        model.decoder([piece(model, store, count, seed)])
        store.extend(count)


def packed(model: StreamModel, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
    return model.head(model.decoder(pieces)).unbind()


def refuse(pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
    raise AssertionError(f"{len(pieces)} decode steps were not recognised")


class Sized(GraphDecoder):
    """Notes for how many streams at once a graph would be captured."""

    def __init__(self, model: StreamModel) -> None:
        super().__init__(model)
        self.sizes: set[int] = set()

    def _step(self, pool: KVPool, inputs: StepInputs) -> torch.Tensor:
        self.sizes.add(len(inputs.ids))
        return super()._step(pool, inputs)


@pytest.mark.parametrize("streams", [1, 2, 4, 5])
@torch.inference_mode()
def test_decode_steps_equal_the_ordinary_decoders(model: StreamModel, streams: int) -> None:
    """Three steps in a row, over two pools where five streams need them; the others lie untouched."""
    take, lengths = pools(model), [1, 17, 30, 9, 24, 12]
    arenas = [take(CAPACITY) for _ in lengths]
    plain = [apart(model)(CAPACITY) for _ in lengths]
    fill(model, arenas, lengths)
    fill(model, plain, lengths)
    for arena in arenas:  # what an eviction leaves behind
        arena.keys[:, :, arena.length :] = 7.0
        arena.values[:, :, arena.length :] = -7.0
    graphs, batch = Sized(model), [0, 4, 2, 1, 3][:streams]
    for step in range(3):
        before = [(arena.keys.clone(), arena.values.clone()) for arena in arenas]
        own = [piece(model, plain[i], 1, 100 * step + i) for i in batch]
        logits = graphs([piece(model, arenas[i], 1, 100 * step + i) for i in batch], refuse)
        expected = torch.stack(list(packed(model, own)))
        assert expected.std() > 0.1
        torch.testing.assert_close(torch.stack(logits), expected, rtol=0, atol=BOUND)
        for i, arena in enumerate(arenas):
            written = arena.length if i in batch else None
            for now, was in zip((arena.keys, arena.values), before[i], strict=True):
                changed = (now != was).any(-1).any(1).any(0).nonzero().flatten()
                assert changed.tolist() == ([] if written is None else [written])
        for i in batch:
            for stores in ((arenas[i].keys, plain[i].keys), (arenas[i].values, plain[i].values)):
                new, old = (states[:, :, arenas[i].length] for states in stores)
                torch.testing.assert_close(new, old, rtol=0, atol=BOUND)
            arenas[i].extend(1)
            plain[i].extend(1)
    assert graphs.sizes <= {1, 2, 4}, "a graph for every number of streams"


@torch.inference_mode()
def test_what_is_not_a_decode_step_goes_the_ordinary_way_in_its_place(model: StreamModel) -> None:
    take = pools(model)
    small, large, full = take(CAPACITY), take(CAPACITY + 1), take(CAPACITY)
    lone = apart(model)(CAPACITY)
    stores = [small, lone, large, take(CAPACITY)]
    fill(model, stores, [5, 6, 7, 8])
    full.length = CAPACITY
    features = torch.randn(2, model.feature_size, generator=torch.Generator().manual_seed(1))
    seeing = piece(model, take(CAPACITY), 3, 9)
    seeing = Piece(seeing.ids, seeing.positions, seeing.store, (Visual(1, features),))
    batch = [
        seeing,
        piece(model, small, 1, 1),
        piece(model, lone, 1, 2),
        piece(model, large, 1, 3),
        piece(model, stores[3], 4, 4),
    ]
    rest: list[Piece] = []

    def others(pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        rest.extend(pieces)
        return packed(model, pieces)

    logits = GraphDecoder(model)(batch, others)
    assert rest == [batch[0], batch[2], batch[4]]
    for alone, together in zip(batch, logits, strict=True):
        torch.testing.assert_close(together, packed(model, [alone])[0], rtol=0, atol=BOUND)
    overflow = piece(model, full, 1, 5)  # written at its length it would be out of bounds, fatal on a GPU
    GraphDecoder(model)([overflow], others)
    assert rest[3:] == [overflow]


CONFIGS = [
    small_config(),
    small_config(prompt="another prompt, and a longer one", temperature=1.5, sampling_seed=3),
    small_config(policy="window", text_window_tokens=5),
    small_config(policy="native-positions", previous_text="long ago it was said"),
]


def run_together(
    model: StreamModel, configs: Sequence[StreamConfig], runner: Runner, allocate: Callable[[int], KVArena]
) -> list[list[ChunkResult]]:
    """What each stream says to six chunks, all in one batch; each begins later than the one before."""
    sessions = [StreamSession(model, config, None, allocate) for config in configs]
    told: list[list[ChunkResult]] = [[] for _ in sessions]
    running: dict[int, tuple[Any, Work]] = {}
    for turn in range(2000):
        for number, session in enumerate(sessions):
            if number not in running and len(told[number]) < 6 and turn >= 5 * number:
                steps = session.steps(chunk_at(10 * number + len(told[number])))
                running[number] = (steps, next(steps))
        if not running:
            return told
        answers = runner.run([work for _, work in running.values()])
        for (number, (steps, _)), answer in zip(list(running.items()), answers, strict=True):
            try:
                running[number] = (steps, steps.send(answer))
            except StopIteration as end:
                told[number].append(end.value)
                del running[number]
    raise AssertionError("the streams do not come to an end")


def test_streams_say_the_same_with_and_without(small_model: StreamModel) -> None:
    plain = run_together(small_model, CONFIGS, Runner(small_model), apart(small_model))
    runner = Runner(small_model)
    runner._graphs = GraphDecoder(small_model)  # as on a GPU, but run eagerly
    pooled = run_together(small_model, CONFIGS, runner, pools(small_model, rows=2))
    assert sum(len(result.token_ids) for results in plain for result in results) > 100
    for one, other in zip(plain, pooled, strict=True):
        assert [result.token_ids for result in one] == [result.token_ids for result in other]


@needs_gpu
@torch.inference_mode()
def test_a_replayed_graph_answers_to_its_inputs_and_not_to_those_of_the_capture() -> None:
    device = torch.device("cuda")
    weight = torch.randn(4, 4, device=device)
    cells = torch.zeros(8, 4, device=device)

    def step(inputs: StepInputs) -> torch.Tensor:
        cells[inputs.lengths] = inputs.cos
        return cells @ weight

    def inputs(row: int) -> StepInputs:
        lengths, values = torch.tensor([row], device=device), torch.randn(1, 4, device=device)
        return StepInputs(lengths, values, values, lengths)

    graph = capture(step, inputs(0))
    given = [inputs(row) for row in (3, 5, 3)]
    answers = [graph(each) for each in given]
    expected = torch.zeros(8, 4, device=device)
    expected[0] = cells[0]
    for each, answer in zip(given, answers, strict=True):
        expected[each.lengths] = each.cos
        torch.testing.assert_close(answer, expected @ weight)


@needs_gpu
def test_on_a_gpu_streams_say_the_same_under_graphs(tmp_path: Path) -> None:
    """Float32 on a GPU, greedy: with graphs as without, joining and leaving batches of all sizes."""
    folder = write_random_model(tmp_path / "model", initializer_range=0.2)
    on_gpu = load_model(str(folder), device="cuda")
    greedy = [config for config in CONFIGS if config.temperature == 0.0]
    plain = run_together(on_gpu, greedy, Runner(on_gpu), apart(on_gpu))
    graphs = run_together(on_gpu, greedy, Runner(on_gpu), pools(on_gpu, rows=2))
    for one, other in zip(plain, graphs, strict=True):
        assert [result.token_ids for result in one] == [result.token_ids for result in other]
