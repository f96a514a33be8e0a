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

"""A real `svlm serve` and peers that speak the wire: what is said, kept and refused, whoever is killed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
import os
from pathlib import Path
import resource
import signal
import subprocess
import sys

import psutil
import pytest
from random_models import write_random_model
from raw_peer import coded, RawPeer
from serve_rig import END_LIMIT_S, make_keys, ServeRig
from svlm_core.frames import Chunk
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.offload import wire
from svlm_core.offload.curve import ClientKeys
from svlm_core.offload.wire import Code, Restored
from svlm_core.sources.world import WorldSource
from svlm_core.stream.defaults import stream_config
from svlm_core.stream.session import StreamSession

ROOM = 3
CHUNKS = 6


def chunks_of(seed: int, count: int) -> list[Chunk]:
    frames = list(islice(WorldSource(seed=seed), 2 * count))
    return [Chunk(index, tuple(frames[2 * index : 2 * index + 2])) for index in range(count)]


@pytest.fixture(scope="module")
def model() -> StreamModel:
    return load_model("tiny")


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys") / "keys", "robot", "other")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, keys_dir: Path) -> Iterator[ServeRig]:
    folder = tmp_path_factory.mktemp("server")
    options = ("--keys", str(keys_dir), "--max-sessions", str(ROOM))
    with ServeRig(folder, "tcp://127.0.0.1:*", *options) as server:
        yield server


@pytest.fixture
def robot(keys_dir: Path) -> ClientKeys:
    return keys_of(keys_dir, "robot")


def keys_of(keys_dir: Path, name: str) -> ClientKeys:
    return ClientKeys.read(keys_dir / f"{name}.key", str(keys_dir / "server.pub"))


def endpoint(server: ServeRig) -> str:
    (line,) = [line for line in server.lines if "ready at" in line]
    return next(word for word in line.split() if word.startswith("tcp://")).rstrip(",")


def workers_of(server: ServeRig) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()


def test_what_is_said_is_what_is_said_in_process(
    server: ServeRig, robot: ClientKeys, model: StreamModel
) -> None:
    alone = StreamSession(model, stream_config(model))
    with RawPeer(endpoint(server), robot) as peer:
        welcome = peer.hello("same", camera="front")
        assert (welcome.restored, welcome.last, welcome.model) == (Restored.NOTHING, -1, "tiny")
        said = []
        for chunk in chunks_of(7, CHUNKS):
            got = peer.step(welcome.epoch, chunk.index, chunk)
            expected = alone.step(chunk)
            assert (got.text, tuple(got.token_ids)) == (expected.text, expected.token_ids)
            assert (got.cache_tokens, got.prefill_tokens) == (expected.cache_tokens, expected.prefill_tokens)
            assert 0 < sum(got.stage_ms.values()) < got.server_ms * 1.5
            said.append(got.text)
        assert any(said)
        peer.send(wire.Bye())


def test_after_a_cut_the_stream_goes_on_where_it_was(
    server: ServeRig, robot: ClientKeys, model: StreamModel
) -> None:
    alone = StreamSession(model, stream_config(model))
    chunks = chunks_of(11, CHUNKS)
    with RawPeer(endpoint(server), robot) as peer:
        epoch = peer.hello("cut").epoch
        last = peer.step(epoch, 0, chunks[0])
        peer.send(*coded(epoch, 1, chunks[1]))  # cut before its answer
        peer.ask(wire.Ping(1))  # the chunk has arrived
    with RawPeer(endpoint(server), robot) as peer:
        welcome = peer.hello("cut", heard=last.seq)
        assert (welcome.epoch, welcome.restored, welcome.last) == (epoch, Restored.CACHE, 1)
        again = peer.hear()
        assert (again.seq, again.epoch) == (1, epoch)
        got = [last, again, *(peer.step(epoch, chunk.index, chunk) for chunk in chunks[2:])]
        assert [tuple(one.token_ids) for one in got] == [alone.step(chunk).token_ids for chunk in chunks]
        assert peer.step(epoch, 3, chunks[3]) == wire.Error(Code.ORDER, seq=3)
        assert peer.step(epoch - 1, 9, chunks[3]) == wire.Error(Code.EPOCH, seq=9)
        peer.send(wire.Bye())


def test_another_key_cannot_have_a_session(server: ServeRig, robot: ClientKeys, keys_dir: Path) -> None:
    with RawPeer(endpoint(server), robot) as owner:
        owner.hello("mine")
        with RawPeer(endpoint(server), keys_of(keys_dir, "other")) as thief:
            assert thief.ask(wire.Hello(wire.VERSION, "mine")) == wire.Error(Code.TAKEN)
            assert thief.ask(wire.Ping(1)) == wire.Error(Code.SESSION)
        assert owner.ask(wire.Ping(2)) == wire.Pong(2)
        owner.send(wire.Bye())


def test_what_breaks_the_protocol_is_refused_and_hurts_nobody(server: ServeRig, robot: ClientKeys) -> None:
    (chunk,) = chunks_of(3, 1)
    with RawPeer(endpoint(server), robot) as good, RawPeer(endpoint(server), robot) as bad:
        epoch = good.hello("good").epoch
        bad.hello("bad")
        for parts, code in [
            ([b""], Code.SCHEMA),
            ([b"\x81\xa1t\xa4what"], Code.SCHEMA),
            (wire.pack(wire.Hello(99, "bad")), Code.VERSION),
            ([b"x" * (wire.MAX_HEADER_BYTES + 1)], Code.TOO_LARGE),
            (wire.pack(wire.Ping(1), [b"picture"]), Code.SCHEMA),
            (wire.pack(wire.Hello(wire.VERSION, "../x")), Code.SCHEMA),
        ]:
            bad.socket.send_multipart(parts)
            error = bad.hear()
            assert (error.code, error.id, error.seq) == (code, None, None)
        message, pictures = coded(epoch, 0, chunk)
        bad_epoch = bad.hello("bad").epoch
        cut = [pictures[0], pictures[1][:-9]]
        bad.send(wire.Chunk(bad_epoch, 0, 0, [0, 1], 84, 84, wire.Picture.PNG), cut)
        assert bad.hear() == wire.Error(Code.IMAGE, seq=0)
        assert good.ask(message, pictures).seq == 0
        for peer in (good, bad):
            peer.send(wire.Bye())


def test_full_is_said_to_the_newcomer(server: ServeRig, robot: ClientKeys) -> None:
    peers = [RawPeer(endpoint(server), robot) for _ in range(ROOM + 1)]
    try:
        for number, peer in enumerate(peers[:ROOM]):
            peer.hello(f"full{number}")
        error = peers[-1].ask(wire.Hello(wire.VERSION, "newcomer"))
        assert error.code is Code.FULL and error.retry_s > 0
        assert peers[0].ask(wire.Ping(1)) == wire.Pong(1)
        peers[0].send(wire.Bye())
        peers[0].ask(wire.Ping(2))  # the Bye has arrived
        assert peers[-1].hello("newcomer")
        for peer in peers[1:]:
            peer.send(wire.Bye())
    finally:
        for peer in peers:
            peer.__exit__()


def test_a_worker_that_is_killed_costs_what_was_seen(
    server: ServeRig, robot: ClientKeys, model: StreamModel
) -> None:
    chunks = chunks_of(5, CHUNKS)
    with RawPeer(endpoint(server), robot) as peer:
        epoch = peer.hello("worker").epoch
        alone = StreamSession(model, stream_config(model))
        for chunk in chunks[:3]:
            peer.step(epoch, chunk.index, chunk)
            alone.step(chunk)
        (worker,) = workers_of(server)
        worker.send_signal(signal.SIGKILL)
        peer.send(*coded(epoch, 3, chunks[3]))
        heard = peer.until(wire.Welcome)
        welcome = heard[-1]
        assert (welcome.epoch, welcome.restored, welcome.last) == (epoch + 1, Restored.TEXT, 2)
        assert [(error.code, error.seq) for error in heard[:-1]] in (
            [(Code.INTERNAL, 3)],
            [(Code.EPOCH, 3)],  # it came when the front knew already
        )
        alone = StreamSession(model, stream_config(model), said=alone.said_text)
        for chunk in chunks[4:]:
            got = peer.step(welcome.epoch, chunk.index, chunk)
            assert tuple(got.token_ids) == alone.step(chunk).token_ids
        peer.send(wire.Bye())


def test_a_server_that_is_killed_keeps_what_was_said(
    tmp_path: Path, keys_dir: Path, robot: ClientKeys, model: StreamModel
) -> None:
    chunks = chunks_of(9, CHUNKS)
    alone = StreamSession(model, stream_config(model))
    options = ("--keys", str(keys_dir))
    with ServeRig(tmp_path, "tcp://127.0.0.1:*", *options) as server:
        bind = endpoint(server)
        with RawPeer(bind, robot) as peer:
            epoch = peer.hello("kept").epoch
            results = [peer.step(epoch, chunk.index, chunk) for chunk in chunks[:3]]
            for chunk in chunks[:3]:
                alone.step(chunk)
        workers = workers_of(server)
        server.kill()
        assert psutil.wait_procs(workers, END_LIMIT_S)[1] == []  # nobody is left behind
        rig = ServeRig(tmp_path, bind, *options)
        rig.start()
        with RawPeer(bind, robot) as peer:
            welcome = peer.hello("kept", heard=1)
            assert (welcome.epoch, welcome.restored, welcome.last) == (epoch + 1, Restored.TEXT, 2)
            assert peer.hear() == results[2]
            alone = StreamSession(model, stream_config(model), said=alone.said_text)
            for chunk in chunks[3:]:
                got = peer.step(welcome.epoch, chunk.index, chunk)
                assert tuple(got.token_ids) == alone.step(chunk).token_ids
            _another_server_is_refused(tmp_path, bind, keys_dir)
            workers = workers_of(rig)
            peer.send(wire.Hello(wire.VERSION, "kept", heard=CHUNKS))  # it has been silent for long
            peer.until(wire.Welcome)
            os.kill(rig.pid, signal.SIGTERM)
            (ending,) = peer.until(wire.Error)
            assert ending.code is Code.ENDING and ending.retry_s > 0
            assert rig.end() == 0
        assert psutil.wait_procs(workers, END_LIMIT_S)[1] == []


def _another_server_is_refused(folder: Path, bind: str, keys_dir: Path) -> None:
    command = [sys.executable, "-m", "svlm_core.cli", "serve", "--bind", bind, "--metrics", ""]
    journal = str(folder / "journal.sqlite")
    second = subprocess.run(
        [*command, "--keys", str(keys_dir), "--journal", journal], capture_output=True, text=True
    )
    assert second.returncode == 1
    assert f"svlm: --journal {journal}: another svlm serve has it" in second.stderr
    assert "Traceback" not in second.stderr


def test_no_memory_for_a_cache_refuses_the_newcomer_alone(tmp_path: Path) -> None:
    # A cache of 1 Mi tokens of this model takes 512 MB, more than the worker may have.
    folder = write_random_model(tmp_path / "model", num_key_value_heads=2, max_position_embeddings=1 << 21)
    huge = {"policy": "full", "full_capacity_tokens": 1 << 20}
    (chunk,) = chunks_of(3, 1)
    options = ("--model", str(folder))
    with (
        ServeRig(tmp_path, "tcp://127.0.0.1:*", *options) as server,
        RawPeer(endpoint(server)) as small,
        RawPeer(endpoint(server)) as large,
    ):
        epoch = small.hello("small").epoch
        assert small.step(epoch, 0, chunk).seq == 0
        (worker,) = workers_of(server)
        limit_bytes = worker.memory_info().vms + (256 << 20)
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit_bytes, limit_bytes))
        welcome = large.hello("large", settings=huge)
        error = large.step(welcome.epoch, 0, chunk)
        assert (error.code, error.seq) == (Code.FULL, 0) and error.retry_s > 0
        assert large.ask(wire.Ping(1)) == wire.Error(Code.SESSION)
        assert small.step(epoch, 1, Chunk(1, chunk.frames)).seq == 1
        small.send(wire.Bye())
        _a_chunk_in_work_is_answered_before_the_end(server, chunk)


def _a_chunk_in_work_is_answered_before_the_end(server: ServeRig, chunk: Chunk) -> None:
    with RawPeer(endpoint(server)) as peer:
        epoch = peer.hello("talker", settings={"max_new_tokens": 256}, partial=True).epoch
        peer.send(*coded(epoch, 0, chunk))
        peer.until(wire.Partial)
        for _ in range(2):  # a launcher hands on what the terminal has told everybody: one press
            os.kill(server.pid, signal.SIGINT)
        heard = peer.until(wire.Result)
        assert server.end() == 0
        while (message := peer.hear(0)) is not None:
            heard.append(message)
        assert [m.code for m in heard if isinstance(m, wire.Error)] == [Code.ENDING]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bind", "tcp://*:5577"], "goes beyond this machine: give keys"),
        (["--bind", "nowhere"], "must look like tcp://HOST:PORT"),
        (["--devices", "cuda,cuda"], "--devices takes distinct devices"),
        (["--max-sessions", "-1"], "--max-sessions must not be negative"),
        (["--bind", "tcp://127.0.0.1:*", "--model", "/nowhere"], "could not start: /nowhere: no such folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "svlm_core.cli", "serve", "--metrics", ""]
    served = subprocess.run(
        [*command, "--journal", str(tmp_path / "journal"), *options], capture_output=True, text=True
    )
    assert served.returncode == 1
    assert message in served.stderr.splitlines()[-1]
    assert "Traceback" not in served.stderr
