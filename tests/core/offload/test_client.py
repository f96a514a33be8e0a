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

"""A robot's stream over real sockets, to a peer that does what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
import signal
import socket as sockets
import threading
import time
from typing import Any

from link_peer import Peer, until, WAIT_S
import numpy as np
import pytest
from svlm_core.config import StreamConfig
from svlm_core.errors import (
    ConfigError,
    EngineClosedError,
    LinkError,
    NumericsError,
    QueryError,
    SourceError,
)
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.offload import images, wire
from svlm_core.offload.client import Client
from svlm_core.offload.coded import CodedFrames
from svlm_core.offload.curve import ClientKeys
from svlm_core.offload.keys import KeyStore
from svlm_core.offload.link import CONNECTING, LinkState, LIVE, REFUSED, STALLED
from svlm_core.offload.wire import Code, Picture, Restored
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.query import Query

THREAD = "svlm-link"


def chunk_at(index: int, height: int = 56, width: int = 84, frames: int = 2) -> Chunk:
    noise = np.random.default_rng(index).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return Chunk(index, tuple(Frame(index * NS_PER_S + k, rgb) for k, rgb in enumerate(noise)))


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@contextmanager
def linked(peer: Peer, overrides: dict[str, Any] | None = None, **options: Any) -> Iterator[Client]:
    """A client that is live; its thread and its sockets are gone afterwards."""
    before = threading.active_count()
    with Client(peer.endpoint, overrides or {}, **options) as client:
        assert client.wait_until_live(WAIT_S).name == LIVE
        yield client
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 1.0
    until(lambda: threading.active_count() <= before, "a thread is left")


def within(seconds: float) -> ChunkBudget:
    return ChunkBudget(time.monotonic() + seconds)


# ---- a link that works -----------------------------------------------------------------------------------


def test_a_stream_over_a_link(peer: Peer) -> None:
    with linked(peer, {"temperature": 0.5}, camera="front", picture=Picture.PNG) as client:
        (hello,) = peer.wait_for(wire.Hello)
        assert (hello.camera, hello.settings, hello.heard) == ("front", {"temperature": 0.5}, -1)
        assert client.config == StreamConfig() and client.model == "model"
        chunk = chunk_at(3)
        result = client.step(chunk, query=Query("why?"), budget=within(WAIT_S))
        assert (result.text, result.token_ids, result.prefill_tokens, result.cache_tokens) == (
            "chunk 3",
            (7, 8),
            5,
            50,
        )
        assert set(result.stage_ms) == {"encode", "decode", "link"} and min(result.stage_ms.values()) >= 0.0
        (sent,) = peer.wait_for(wire.Chunk)
        assert (sent.index, sent.query, sent.picture) == (3, "why?", Picture.PNG)
        assert 0 < sent.budget_ms <= WAIT_S * 1e3
        assert sent.stamps_ns == [frame.stamp_ns for frame in chunk.frames]
        assert (client.said_text, client.cache_tokens, client.capacity_tokens) == ("chunk 3", 50, 99)
        until(lambda: client.state.round_trip_ms is not None, "no round trip")
    peer.wait_for(wire.Bye)


def test_png_keeps_every_value_and_jpeg_is_scaled_to_what_the_model_sees(peer: Peer) -> None:
    chunk = chunk_at(0)
    with linked(peer, picture=Picture.PNG) as client:
        client.step(chunk)
        decoded = [images.decode(data, Picture.PNG, 56, 84) for data in peer.pictures]
        assert np.array_equal(decoded, chunk.rgb())
    with linked(peer) as client:
        for index in range(3):
            client.step(chunk_at(index))
        assert [images.decode(data, Picture.JPEG, 28, 42).shape for data in peer.pictures] == [
            (28, 42, 3)
        ] * 2
    assert len(peer.wait_for(wire.Size)) == 1, "asked once"


def test_pictures_are_never_made_larger(peer: Peer) -> None:
    peer.answers[wire.Size] = lambda size: [wire.Done(size.id, 1, 28, 840)]
    with linked(peer) as client:
        coded = client.preprocess(chunk_at(0))
        assert (coded.height, coded.width) == (28, 84)


def test_frames_that_no_message_holds_are_named(peer: Peer) -> None:
    with linked(peer, picture=Picture.PNG) as client:
        with pytest.raises(SourceError, match="240; lower chunk_s or fps"):
            client.preprocess(chunk_at(0, 28, 28, 241))
        wide = Chunk(0, (Frame(0, np.zeros((28, 9000, 3), np.uint8)),))
        with pytest.raises(SourceError, match="9000x28 is wider or higher"):
            client.preprocess(wide)
        many = Chunk(0, (Frame(0, np.zeros((4096, 8192, 3), np.uint8)),) * 3)
        with pytest.raises(SourceError, match="more pixels"):
            client.preprocess(many)


def test_words_are_told_while_they_are_found_in_the_thread_that_waits(peer: Peer) -> None:
    def speak(chunk: wire.Chunk) -> list[Any]:
        said = [wire.Partial(chunk.epoch, chunk.seq, text) for text in ("red", "red stops")]
        return [*said, wire.Partial(chunk.epoch, chunk.seq + 1, "late"), *peer.understand(chunk)]

    peer.answers[wire.Chunk] = speak
    heard: list[tuple[str, threading.Thread]] = []
    with linked(peer, partial=True) as client:
        client.step(
            chunk_at(0), hear=lambda said: heard.append((client.words(said), threading.current_thread()))
        )
        assert peer.wait_for(wire.Hello)[0].partial
    assert heard == [("red", threading.current_thread()), ("red stops", threading.current_thread())]


def test_questions_and_settings_are_the_servers_to_refuse(peer: Peer) -> None:
    with linked(peer) as client:
        client.check_query(Query("short"))
        peer.answers[wire.Check] = lambda check: [wire.Error(Code.QUERY, id=check.id)]
        with pytest.raises(QueryError, match=r"max_query_tokens \(64\): 'long"):
            client.check_query(Query("long " * 100))
        client.reconfigure(replace(client.config, temperature=0.25))
        assert peer.wait_for(wire.Configure)[0].settings == {"temperature": 0.25}
        assert client.config.temperature == 0.25
        peer.answers[wire.Configure] = lambda change: [wire.Error(Code.CONFIG, id=change.id, field="prompt")]
        with pytest.raises(ConfigError, match="prompt"):
            client.reconfigure(replace(client.config, prompt="too long"))
        with pytest.raises(ConfigError, match="fps"):
            client.reconfigure(replace(client.config, fps=4.0))
        with pytest.raises(ConfigError, match="16384"):
            client.reconfigure(replace(client.config, prompt="x" * 20_000))
        assert client.config == StreamConfig(temperature=0.25)


def test_a_reset_forgets_on_both_sides(peer: Peer) -> None:
    with linked(peer) as client:
        client.step(chunk_at(0))
        client.reset()
        assert len(peer.wait_for(wire.Reset)) == 1
        assert client.said_text == ""


def test_errors_are_those_of_a_stream_here(peer: Peer) -> None:
    with linked(peer) as client:
        peer.answers[wire.Chunk] = lambda chunk: [wire.Error(Code.NUMERICS, seq=chunk.seq)]
        with pytest.raises(NumericsError, match="not finite"):
            client.step(chunk_at(0))
        peer.answers[wire.Chunk] = lambda chunk: [wire.Error(Code.INTERNAL, seq=chunk.seq)]
        with pytest.raises(LinkError, match="its log says more"):
            client.step(chunk_at(1))


# ---- a link that does not --------------------------------------------------------------------------------


def test_a_live_chunk_is_not_sent_when_its_time_is_over(peer: Peer) -> None:
    with linked(peer) as client:
        with pytest.raises(LinkError, match="in time"):
            client.step(chunk_at(0), budget=within(-0.01))
        client.step(chunk_at(1))
    assert [chunk.index for chunk in peer.wait_for(wire.Chunk)] == [1]


def test_a_silent_server_is_noticed_and_a_live_chunk_fails_in_its_time(peer: Peer) -> None:
    states: list[LinkState] = []
    with linked(peer, on_state=states.append) as client, ThreadPoolExecutor(1) as pool:
        with peer.deaf():
            began_s = time.monotonic()
            until(lambda: client.state.name == STALLED, "nobody noticed")
            assert time.monotonic() - began_s < wire.DEAD_AFTER_S + 1.5
            assert client.state.reason == "the server does not answer"
            began_s = time.monotonic()
            with pytest.raises(LinkError, match="stalled"):
                client.step(chunk_at(0), budget=within(0.2))
            assert 0.2 <= time.monotonic() - began_s < 1.0
            waiting = pool.submit(client.step, chunk_at(1))
        assert waiting.result(WAIT_S).text == "chunk 1", "one without a deadline waits"
        assert client.state.reconnects == 1
    assert [name for name, _ in groupby(states, lambda state: state.name)] == [LIVE, STALLED, LIVE]


def test_a_server_that_is_killed_is_noticed_at_once_and_found_again() -> None:
    with Peer() as first, Client(first.endpoint, picture=Picture.PNG) as client:
        client.wait_until_live(WAIT_S)
        client.step(chunk_at(0))
        first.__exit__()
        until(lambda: client.state.name == STALLED, "nobody noticed")
        with Peer(first.endpoint) as second, ThreadPoolExecutor(1) as pool:
            second.epoch, second.restored, second.last = 2, Restored.TEXT, 0
            result = pool.submit(client.step, chunk_at(5)).result(WAIT_S)
            assert result.text == "chunk 5" and "what was seen is not" in result.forgot
            (hello,) = second.wait_for(wire.Hello)
            assert (hello.heard, hello.said) == (0, "chunk 0")
            assert hello.settings == asdict(client.config)
            assert hello.session == first.heard[0].session
            assert client.step(chunk_at(6)).forgot == ""
            client.close()
        first.__enter__()


def test_a_result_that_the_cut_has_swallowed_is_heard_after_it(peer: Peer) -> None:
    kept: list[wire.Chunk] = []
    peer.answers[wire.Chunk] = lambda chunk: kept.append(chunk) or []

    def again(hello: wire.Hello) -> list[Any]:
        peer.last = kept[0].seq
        return [peer.welcome(), peer.result(kept[0])]

    with linked(peer) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.step, chunk_at(0), None, within(0.5))
        peer.wait_for(wire.Chunk)
        peer.answers[wire.Hello] = again
        peer.say(b"garbage")
        assert waiting.result(WAIT_S).text == "chunk 0", "long after its deadline: it was sent in time"
    assert len(kept) == 1


def test_late_and_foreign_results_change_nothing(peer: Peer) -> None:
    def confused(chunk: wire.Chunk) -> list[Any]:
        wrong = [
            wire.Result(chunk.epoch + 1, chunk.seq, "other memory", [], 0, 0, 0, "end", {}, 0.0),
            wire.Result(chunk.epoch, chunk.seq + 9, "of nobody", [], 0, 0, 0, "end", {}, 0.0),
            wire.Error(Code.INTERNAL, seq=chunk.seq + 9),
            wire.Done(12345, 1),
            wire.Pong(12345),
        ]
        return [*wrong, *peer.understand(chunk), *peer.understand(chunk)]

    peer.answers[wire.Chunk] = confused
    with linked(peer) as client:
        assert [client.step(chunk_at(index)).text for index in range(3)] == ["chunk 0", "chunk 1", "chunk 2"]
        assert client.said_text == "chunk 0 chunk 1 chunk 2"
        assert client.state.reconnects == 0


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 100, b"\x81\xa1t\xa6result", b"\x80"])
def test_garbage_ends_a_connection_not_the_stream(peer: Peer, garbage: bytes) -> None:
    with linked(peer) as client:
        client.step(chunk_at(0))
        peer.say(garbage)
        until(lambda: client.state.reconnects == 1, "it did not come back")
        assert client.step(chunk_at(1)).text == "chunk 1"


def test_a_loss_of_memory_in_the_middle_of_a_connection_is_told(peer: Peer) -> None:
    with linked(peer) as client:
        client.step(chunk_at(0))
        peer.epoch, peer.restored = 2, Restored.TEXT
        peer.say(peer.welcome())
        refused: list[int] = []

        def once(chunk: wire.Chunk) -> list[Any]:
            if chunk.epoch != peer.epoch:
                refused.append(chunk.seq)
                return [wire.Error(Code.EPOCH, seq=chunk.seq)]
            return list(peer.understand(chunk))

        peer.answers[wire.Chunk] = once
        assert "what was said is kept" in client.step(chunk_at(1)).forgot
        assert len(refused) <= 1


def test_cancelling_ends_a_step_whatever_the_server_does(peer: Peer) -> None:
    with linked(peer) as client, ThreadPoolExecutor(1) as pool:
        peer.answers[wire.Chunk] = lambda chunk: []
        budget = ChunkBudget()
        waiting = pool.submit(client.step, chunk_at(0), None, budget)
        (chunk,) = peer.wait_for(wire.Chunk)
        began_s = time.monotonic()
        budget.cancel()
        with pytest.raises(LinkError, match="cancelled"):
            waiting.result(WAIT_S)
        assert time.monotonic() - began_s < 2.0
        assert peer.wait_for(wire.Cancel) == [wire.Cancel(chunk.epoch, chunk.seq)]
        peer.answers[wire.Cancel] = lambda cancel: [
            replace_finish(peer.result(peer.wait_for(wire.Chunk, 2)[-1]))
        ]
        budget = ChunkBudget()
        waiting = pool.submit(client.step, chunk_at(1), None, budget)
        peer.wait_for(wire.Chunk, 2)
        budget.cancel()
        assert waiting.result(WAIT_S).finish == "cancelled"
        with pytest.raises(LinkError, match="cancelled"):
            client.step(chunk_at(2), budget=ChunkBudget(cancelled=True))


def replace_finish(result: wire.Result) -> wire.Result:
    return wire.Result(
        result.epoch, result.seq, "wor", [7], 5, 50, 99, "cancelled", {"decode": 1.0}, result.server_ms
    )


def test_ctrl_c_ends_a_step_and_not_the_link(peer: Peer) -> None:
    peer.answers[wire.Chunk] = lambda chunk: []

    def press() -> None:
        peer.wait_for(wire.Chunk)
        time.sleep(0.3)  # until the step waits: one that is cut short while it sends gives the connection up
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with linked(peer) as client, ThreadPoolExecutor(1) as pool:
        pool.submit(press)
        with pytest.raises(KeyboardInterrupt):
            client.step(chunk_at(0))
        peer.answers[wire.Chunk] = peer.understand
        assert client.step(chunk_at(1)).text == "chunk 1"
        assert len(peer.wait_for(wire.Hello)) == 1, "over the same connection"
        peer.wait_for(wire.Ping, 3)  # without a step, too
    peer.wait_for(wire.Bye)


def test_closing_ends_a_step_and_every_later_call(peer: Peer) -> None:
    peer.answers[wire.Chunk] = lambda chunk: []
    with linked(peer) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.step, chunk_at(0))
        peer.wait_for(wire.Chunk)
        client.close()
        with pytest.raises(EngineClosedError):
            waiting.result(WAIT_S)
        calls: list[Callable[[], object]] = [
            lambda: client.step(chunk_at(1)),
            client.reset,
            lambda: client.reconfigure(replace(client.config, temperature=0.1)),
            lambda: client.wait_until_live(0.0),
        ]
        for call in calls:
            with pytest.raises(EngineClosedError, match="the link is closed"):
                call()
        client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD]


def test_a_step_is_shorter_than_the_first_attempts_when_nobody_listens() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    with Client(endpoint) as client:
        assert client.wait_until_live(0.2).name == CONNECTING
        until(lambda: "nothing answers" in client.state.reason, "no reason")
        with pytest.raises(LinkError, match="not been reached yet"):
            print(client.config)
        with pytest.raises(LinkError, match="connecting"):
            client.check_query(Query("anybody there?"))
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 1.0


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (wire.Error(Code.VERSION), "another version"),
        (wire.Error(Code.REVOKED), "revoked"),
        (wire.Error(Code.CONFIG, field="temperature"), "setting: temperature"),
    ],
)
def test_a_refusal_for_good_is_named(peer: Peer, error: wire.Error, reason: str) -> None:
    peer.answers[wire.Hello] = lambda hello: [error]
    with Client(peer.endpoint) as client:
        with pytest.raises(LinkError, match=reason) as caught:
            client.wait_until_live(WAIT_S)
        assert caught.value.final and client.state.name == REFUSED
        with pytest.raises(LinkError, match=reason) as caught:
            client.step(chunk_at(0))
        assert caught.value.final


def test_a_full_server_is_tried_again(peer: Peer) -> None:
    places = iter([False, True])
    peer.answers[wire.Hello] = lambda hello: [
        peer.welcome() if next(places) else wire.Error(Code.FULL, retry_s=0.3)
    ]
    states: list[LinkState] = []
    with linked(peer, on_state=states.append):
        pass
    assert [(state.name, state.final) for state in states] == [(REFUSED, False), (LIVE, False)]
    assert "full" in states[0].reason


def test_a_server_of_another_version_is_named(peer: Peer) -> None:
    peer.answers[wire.Hello] = lambda hello: [
        wire.Welcome(99, 1, Restored.NOTHING, -1, {}, "model of the future", 1)
    ]
    with Client(peer.endpoint) as client, pytest.raises(LinkError, match="version 99"):
        client.wait_until_live(WAIT_S)


class Doors:
    """Keys of two servers and two robots, of which one is allowed."""

    def __init__(self, folder: Path) -> None:
        self.server = KeyStore(folder / "server")
        self.server.new("server")
        other, robots = KeyStore(folder / "other"), KeyStore(folder / "robots")
        other.new("server")
        self.server.allow("robot", robots.new("robot"))
        robots.new("stranger")
        public = str(self.server.folder / "server.pub")
        self.robot = ClientKeys.read(robots.folder / "robot.key", public)
        self.stranger = ClientKeys.read(robots.folder / "stranger.key", public)
        self.astray = ClientKeys.read(robots.folder / "robot.key", str(other.folder / "server.pub"))


def refusal(endpoint: str, keys: ClientKeys | None) -> str:
    with Client(endpoint, keys=keys) as client, pytest.raises(LinkError) as caught:
        client.wait_until_live(WAIT_S)
    return str(caught.value)


def test_what_is_wrong_with_the_keys_is_told_apart(tmp_path: Path, peer: Peer) -> None:
    doors = Doors(tmp_path)
    with Peer(keys_dir=doors.server.folder) as secured:
        with linked(secured, keys=doors.robot) as client:
            assert client.step(chunk_at(0)).text == "chunk 0"
        assert "does not allow this robot's key" in refusal(secured.endpoint, doors.stranger)
        assert "another key than this robot was told" in refusal(secured.endpoint, doors.astray)
        assert "asks for keys" in refusal(secured.endpoint, None)
    assert "the server has no keys" in refusal(peer.endpoint, doors.robot)


def test_who_hangs_up_is_no_server_with_another_key(tmp_path: Path) -> None:
    """As a proxy does whose server is not up yet."""
    doors = Doors(tmp_path)
    with sockets.create_server(("127.0.0.1", 0)) as proxy:

        def hang_up() -> None:
            while True:
                try:
                    proxy.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        with Client(f"tcp://127.0.0.1:{proxy.getsockname()[1]}", keys=doors.robot) as client:
            until(lambda: "before the server said anything" in client.state.reason, "no reason")
            assert client.wait_until_live(1.0).name == CONNECTING
        proxy.shutdown(sockets.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("endpoint", "keys", "message"),
    [
        ("nonsense", False, "must look like tcp://HOST:PORT"),
        ("tcp://192.0.2.1:5577", False, "goes beyond this machine"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(endpoint: str, keys: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Client(endpoint)


def test_a_setting_of_no_kind_that_a_field_has_is_refused(peer: Peer) -> None:
    with pytest.raises(ConfigError, match=r"settings: .*temperature|settings: Expected"):
        Client(peer.endpoint, {"temperature": [0.5]})


# ---- clocks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_jumps_changes_nothing(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    with linked(peer) as client:
        before = time.time
        monkeypatch.setattr(time, "time", lambda: before() + jump_s)
        result = client.step(chunk_at(0), budget=within(WAIT_S))
        assert result.text == "chunk 0" and 0.0 <= result.stage_ms["link"] < WAIT_S * 1e3
        assert client.state.name == LIVE and client.state.reconnects == 0


def test_pictures_of_a_chunk_are_made_once(peer: Peer) -> None:
    with linked(peer) as client:
        coded = client.preprocess(chunk_at(0))
        assert isinstance(coded, CodedFrames)
        client.step(chunk_at(0), coded)
        assert peer.pictures == list(coded.pictures)
