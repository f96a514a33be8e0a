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
from pathlib import Path
import threading

import pytest
from raw_peer import RawPeer
from svlm_core.errors import ConfigError
from svlm_core.offload import wire
from svlm_core.offload.front import Front
from svlm_core.offload.local_workers import LocalLauncher
from svlm_core.offload.serving import ServeConfig
from svlm_core.offload.wire import Code
import zmq

LIMIT_S = 240.0  # torch's import on a busy machine
MESSAGES_PER_S = 100.0
LONG = "w" * wire.MAX_QUERY  # makes every Welcome 16 KB long
FLOOD = 2000


class Serving:
    """A Front in a thread of the test, with a worker process."""

    def __init__(self, **settings: object) -> None:
        config = ServeConfig(bind="tcp://127.0.0.1:*", **settings)  # type: ignore[arg-type]
        self.front = Front(config, LocalLauncher())
        self.endpoint = ""
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Serving:
        self.thread.start()
        assert self.ready.wait(LIMIT_S) and self.endpoint
        return self

    def __exit__(self, *exception: object) -> None:
        self.front.stop()
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        try:
            self.front.run(self._on_ready)
        finally:
            self.ready.set()

    def _on_ready(self, endpoint: str, public: bytes | None) -> None:
        self.endpoint = endpoint
        self.ready.set()


@pytest.fixture(scope="module")
def generous() -> Iterator[Serving]:
    with Serving(messages_per_s=1e6, max_sessions=4) as serving:
        yield serving


def test_who_does_not_fetch_is_cut_and_the_others_do_not_notice(generous: Serving) -> None:
    with RawPeer(generous.endpoint) as other, zmq.Context() as context:
        other.hello("other")
        with context.socket(zmq.DEALER) as slow:
            slow.linger, slow.rcvhwm, slow.sndhwm = 0, 1, 0
            slow.setsockopt(zmq.RCVBUF, 4096)
            slow.connect(generous.endpoint)
            hello = wire.pack(wire.Hello(wire.VERSION, "slow", settings={"prompt": LONG}))
            for number in range(FLOOD):
                slow.send_multipart(hello)
                if number % 100 == 0:
                    assert other.ask(wire.Ping(number)) == wire.Pong(number)
            slow.send_multipart(wire.pack(wire.Ping(1)))
            reader: wire.Reader[wire.FromServer] = wire.Reader(wire.FromServer)
            heard: list[wire.FromServer] = []
            while slow.poll(1000):  # now it fetches
                heard.append(reader.read(slow.recv_multipart()))
            assert len(heard) < FLOOD  # the rest was never kept for it
            slow.send_multipart(wire.pack(wire.Ping(2)))
            assert slow.poll(10_000)
            assert reader.read(slow.recv_multipart()) in (wire.Error(Code.SLOW), wire.Pong(2))
        assert other.ask(wire.Ping(FLOOD)) == wire.Pong(FLOOD)
        other.send(wire.Bye())


def test_whoever_says_nothing_is_taken_for_gone_and_may_come_back(generous: Serving) -> None:
    with RawPeer(generous.endpoint) as peer:
        epoch = peer.hello("silent").epoch
        assert peer.hear(round(1000 * (wire.DEAD_AFTER_S + 0.5))) is None
        assert peer.ask(wire.Ping(1)) == wire.Error(Code.SESSION)
        assert peer.hello("silent").epoch == epoch
        peer.send(wire.Bye())


def test_more_than_a_connection_may_send_is_refused() -> None:
    with Serving(messages_per_s=MESSAGES_PER_S) as serving, RawPeer(serving.endpoint) as peer:
        peer.hello()
        count = 5 * round(MESSAGES_PER_S)
        answers = [peer.ask(wire.Ping(number)) for number in range(count)]
        refused = [answer for answer in answers if isinstance(answer, wire.Error)]
        assert {error.code for error in refused} == {Code.RATE}
        assert all(error.retry_s > 0 for error in refused)
        served = count - len(refused)
        assert 2 * MESSAGES_PER_S - 2 <= served < count
        with RawPeer(serving.endpoint) as another:
            assert another.hello("another")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bind": "tcp://0.0.0.0:5577"}, "--keys DIR"),
        ({"bind": "tcp://127.0.0.1:5577", "metrics": "nowhere"}, "--metrics"),
        ({"devices": ()}, "--devices"),
        ({"drain_s": 0.0}, "--drain-s"),
        ({"threads": -1}, "--threads"),
    ],
)
def test_wrong_settings_start_nothing(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Front(ServeConfig(**fields), LocalLauncher()).run(lambda *_: None)  # type: ignore[arg-type]


def test_a_port_that_is_taken_is_said(tmp_path: Path, generous: Serving) -> None:
    front = Front(ServeConfig(bind=generous.endpoint), LocalLauncher())
    with pytest.raises(ConfigError, match=f"--bind {generous.endpoint}: Address already in use"):
        front.run(lambda *_: None)
