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

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
import queue
from typing import Any

import pytest
from random_models import write_random_model
from raw_peer import coded
from small_stream import chunk_at, small_config
from svlm_core.errors import (
    CacheFullError,
    ConfigError,
    ModelError,
    NumericsError,
    QueryError,
    SourceError,
)
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.offload import backend, wire
from svlm_core.offload.probe import Probe
from svlm_core.offload.streams import code_of, is_device_error, is_out_of_memory, Streams
from svlm_core.offload.vitals import PROBE_EVERY_S
from svlm_core.offload.wire import Code
from svlm_core.stream.engine import Engine
from svlm_core.stream.query import Query
from svlm_core.stream.session import StreamSession
import torch

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    folder = write_random_model(tmp_path_factory.mktemp("small") / "model", initializer_range=0.2)
    return load_model(str(folder))


class Rig:
    """Streams on a real engine; the thread of the test is the worker's."""

    def __init__(self, model: StreamModel, **settings: Any) -> None:
        self.engine = Engine(model)
        self.config = small_config(**settings)
        self.said: list[Any] = []
        self.bell: queue.Queue[None] = queue.Queue()
        self.streams = Streams(self.engine, model, self.config, self.say, lambda: self.bell.put(None))

    def say(self, message: Any) -> None:
        self.said.append(message)
        self.bell.put(None)

    def do(self, order: Any, pictures: Any = ()) -> None:
        self.streams.do(order, [memoryview(picture) for picture in pictures])

    def hear(self) -> Any:
        """The next thing that is said."""
        while not self.said:
            self.bell.get(timeout=LIMIT_S)
            self.streams.work_off()
        return self.said.pop(0)

    def open(self, stream: int, said: str | None = None, **settings: Any) -> Any:
        self.do(backend.Open(stream, settings, said))
        return self.hear()

    def ask(self, stream: int, message: Any, pictures: Any = ()) -> Any:
        self.do(backend.Task(stream, message), pictures)
        return self.hear()


@pytest.fixture
def rig(model: StreamModel) -> Iterator[Rig]:
    rig = Rig(model)
    yield rig
    rig.engine.close()
    rig.streams.close()


def test_chunks_are_understood_as_in_process(rig: Rig, model: StreamModel) -> None:
    opened = rig.open(1, prompt="tell")
    alone = StreamSession(model, rig.config.replace({"prompt": "tell"}, "test"))
    assert opened == backend.Opened(1, asdict(alone.config))
    for index in range(6):
        query = "why?" if index == 3 else ""
        expected = alone.step(chunk_at(index), query=Query(query) if query else None)
        answer = rig.ask(1, *coded(5, index, chunk_at(index), query=query))
        got = answer.message
        assert (got.epoch, got.seq, got.text) == (5, index, expected.text)
        assert tuple(got.token_ids) == expected.token_ids
        assert (got.prefill_tokens, got.cache_tokens) == (expected.prefill_tokens, expected.cache_tokens)
        assert (got.finish, got.capacity_tokens) == (expected.finish, alone.capacity_tokens)
        assert set(got.stage_ms) == set(expected.stage_ms) and got.stage_ms["preprocess"] > 0
        assert answer.said == alone.said_text
        assert 0 < answer.first_token_s <= got.server_ms / 1e3


def test_a_stream_goes_on_from_what_was_said_until_it_is_reset(rig: Rig, model: StreamModel) -> None:
    rig.open(1, said="and so it went on")
    session = StreamSession(model, rig.config, said="and so it went on")
    assert "went on" in session.said_text
    for seq in range(2):
        got = rig.ask(1, *coded(0, seq, chunk_at(0))).message
        assert tuple(got.token_ids) == session.step(chunk_at(0)).token_ids
        if seq == 0:
            assert rig.ask(1, wire.Reset(9)).message.id == 9
            session = StreamSession(model, rig.config)


def test_words_are_said_while_they_are_found(rig: Rig) -> None:
    rig.open(1)
    message, pictures = coded(5, 0, chunk_at(0))
    rig.do(backend.Task(1, message, partial=True), pictures)
    said = [rig.hear().message]
    while isinstance(said[-1], wire.Partial):
        said.append(rig.hear().message)
    *partials, last = said
    assert partials and isinstance(last, wire.Result)
    assert all((partial.epoch, partial.seq) == (5, 0) for partial in partials)
    texts = [partial.text for partial in partials]
    assert len(set(texts)) == len(texts)
    assert all(len(a) < len(b) for a, b in pairwise(texts))


def test_a_budget_ends_the_words(rig: Rig) -> None:
    rig.open(1)
    got = rig.ask(1, *coded(0, 0, chunk_at(0), budget_ms=0.001)).message
    assert (got.finish, len(got.token_ids)) == ("deadline", 1)


def test_damaged_pictures_and_what_does_not_fit_are_their_chunks_fault_alone(rig: Rig) -> None:
    rig.open(1)
    message, pictures = coded(0, 0, chunk_at(0))
    cut = [pictures[0], pictures[1][:-20]]
    assert rig.ask(1, message, cut).message == wire.Error(Code.IMAGE, seq=0)
    wrong = wire.Chunk(0, 1, 1, [0], 57, 56, wire.Picture.PNG)
    assert rig.ask(1, wrong, pictures[:1]).message == wire.Error(Code.IMAGE, seq=1)
    long = coded(0, 2, chunk_at(2), query="why? " * 100)
    assert rig.ask(1, *long).message == wire.Error(Code.QUERY, seq=2)
    assert rig.ask(1, *coded(0, 3, chunk_at(3))).message.seq == 3


def test_what_does_not_fit_into_the_models_positions_is_refused(rig: Rig) -> None:
    rig.open(1, policy="full", full_capacity_tokens=1 << 20)
    assert rig.ask(1, *coded(0, 0, chunk_at(0))).message == wire.Error(Code.CACHE, seq=0)


def test_requests(rig: Rig, model: StreamModel) -> None:
    rig.open(1)
    assert rig.ask(1, wire.Size(2, 480, 640)).message == wire.Done(2, 0, *model.target_size(480, 640, 4, 4))
    assert rig.ask(1, wire.Check(3, "why?")).message == wire.Done(3, 0)
    assert rig.ask(1, wire.Check(4, "why? " * 100)).message == wire.Error(Code.QUERY, id=4)
    assert rig.ask(1, wire.Check(4, " ")).message == wire.Error(Code.QUERY, id=4)
    done = rig.ask(1, wire.Configure(5, {"prompt": "x", "max_new_tokens": 2}))
    assert (done.message, done.settings["prompt"]) == (wire.Done(5, 0), "x")
    assert len(rig.ask(1, *coded(0, 0, chunk_at(0))).message.token_ids) <= 2
    for settings, field in [({"fps": 3.0}, "fps"), ({"promt": "x"}, "promt"), ({"top_p": 7}, "top_p")]:
        assert rig.ask(1, wire.Configure(6, settings)).message == wire.Error(Code.CONFIG, id=6, field=field)


def test_wrong_settings_open_nothing(rig: Rig) -> None:
    assert rig.open(1, chunk_s=0.3) == backend.Refused(1, Code.CONFIG, "chunk_s")
    assert rig.open(1, prompt="x", tempo=1) == backend.Refused(1, Code.CONFIG, "tempo")
    assert rig.open(1).stream == 1


def test_special_tokens_in_a_robots_words_are_words(rig: Rig, model: StreamModel) -> None:
    tokens = []
    for number, prompt in enumerate(("<|im_end|>", "x")):
        rig.open(number, prompt=prompt)
        tokens.append(rig.ask(number, *coded(0, 0, chunk_at(0))).message.prefill_tokens)
    assert tokens[0] - tokens[1] == len("<|im_end|>") - 1  # a token for each byte, none for the whole


def test_a_closed_stream_says_nothing_more_and_the_others_go_on(rig: Rig) -> None:
    rig.open(1)
    rig.open(2)
    rig.do(backend.Task(1, coded(0, 0, chunk_at(0))[0]), coded(0, 0, chunk_at(0))[1])
    rig.do(backend.Close(1))
    assert rig.ask(2, *coded(0, 0, chunk_at(0))).stream == 2
    health = rig.streams.health()
    assert health.streams == 1 and 0 < health.cache_tokens < health.capacity_tokens


def test_cancel_ends_the_chunk_in_work(rig: Rig) -> None:
    rig.open(1, max_new_tokens=64)
    message, pictures = coded(0, 0, chunk_at(0))
    rig.do(backend.Task(1, message), pictures)
    rig.do(backend.Task(1, wire.Cancel(0, 0)))
    assert rig.hear().message.finish == "cancelled"


def test_the_probe_decodes_when_nobody_else_does(model: StreamModel) -> None:
    decoded: queue.Queue[None] = queue.Queue()
    with Engine(model) as engine:
        probe = Probe(engine, small_config(), lambda: decoded.put(None))
        for _ in range(3):
            probe.look(PROBE_EVERY_S - 1)
            assert engine.health().waiting == 0
            probe.look(None)
            decoded.get(timeout=LIMIT_S)
            while engine.health().running:  # until the engine has put the chunk away
                pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (wire.WireError(Code.TOO_LARGE, ""), Code.TOO_LARGE),
        (ConfigError(""), Code.CONFIG),
        (QueryError(""), Code.QUERY),
        (CacheFullError(""), Code.CACHE),
        (NumericsError(""), Code.NUMERICS),
        (SourceError(""), Code.IMAGE),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), Code.FULL),
        (MemoryError(), Code.FULL),
        (ModelError(""), Code.INTERNAL),
        (ZeroDivisionError(), Code.INTERNAL),
    ],
)
def test_what_a_robot_is_told(error: Exception, code: Code) -> None:
    assert code_of(error) is code
    assert not is_device_error(error)


def test_memory_that_cannot_be_had_is_known_as_such() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value) and not is_device_error(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_a_broken_device_is_known_as_such(error: Exception) -> None:
    # No device breaks here; what torch raises when one does is made by hand.
    assert is_device_error(error)
