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

"""The metrics of a real server, held against what a robot sent to it and got back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import json
import subprocess
import sys
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import cv2
import numpy as np
import psutil
import pytest
from raw_peer import LIMIT_MS, RawPeer
from serve_rig import ServeRig
from svlm_core.cli.main import main
from svlm_core.offload import wire
from svlm_core.offload.scrape import Scrape, scrape, Window
from svlm_core.offload.vitals import PROBE_EVERY_S

LIMIT_S = 60.0
SIDE_PX = 84
CHUNKS = 4


class Robot(RawPeer):
    """A robot that counts every byte.

    Attributes:
        sent_bytes, received_bytes: payload of its messages so far.
        frames: sent so far.
        results: so far.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.sent_bytes = self.received_bytes = self.frames = 0
        self.results: list[wire.Result] = []

    def send(self, message: wire.Message, pictures: Sequence[bytes] = ()) -> None:
        self.sent_bytes += sum(map(len, wire.pack(message, pictures)))
        self.frames += len(pictures)
        super().send(message, pictures)

    def hear(self, limit_ms: int = LIMIT_MS) -> Any:
        message = super().hear(limit_ms)
        self.received_bytes += sum(map(len, wire.pack(message)))
        if isinstance(message, wire.Result):
            self.results.append(message)
        return message

    def chunk(self, epoch: int, seq: int, pictures: list[bytes]) -> Any:
        stamps = [seq * 1_000_000_000 + k for k in range(len(pictures))]
        return self.ask(wire.Chunk(epoch, seq, seq, stamps, SIDE_PX, SIDE_PX, wire.Picture.JPEG), pictures)


class JsonRig(ServeRig):
    """A server that says in JSON that it is ready."""

    READY = '"event": "ready"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeRig]:
    folder = tmp_path_factory.mktemp("serve")
    options = ("--max-new-tokens=4", "--log-json", "--metrics=127.0.0.1:0")
    with JsonRig(folder, "tcp://127.0.0.1:*", *options) as rig:
        yield rig


def logged(server: ServeRig) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.lines]


@pytest.fixture
def url(server: ServeRig) -> str:
    line = next(line for line in logged(server) if line["event"] == "metrics")
    return str(line["url"]).removesuffix("/metrics")


@pytest.fixture
def endpoint(server: ServeRig) -> str:
    return str(next(line for line in logged(server) if line["event"] == "ready")["endpoint"])


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", noise)[1])


def until(url: str, holds: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until something holds: gauges and counts follow within a second."""
    end_s = time.monotonic() + LIMIT_S
    while not holds(seen := scrape(url)):
        assert time.monotonic() < end_s, seen.samples
        time.sleep(0.05)
    return seen


def test_every_number_is_what_the_robot_sent_and_got(server: ServeRig, url: str, endpoint: str) -> None:
    before = until(url, lambda seen: seen.ready[0])
    picture = jpeg()
    with Robot(endpoint) as robot:
        welcome = robot.hello("counted", camera="front\nfake=line")
        for seq in range(CHUNKS):
            assert isinstance(robot.chunk(welcome.epoch, seq, [picture] * 2), wire.Result)
        refused = [
            robot.chunk(welcome.epoch, CHUNKS - 1, [picture]),
            robot.chunk(welcome.epoch, CHUNKS, [picture[:-200]] * 2),
        ]
        assert isinstance(robot.ask(wire.Ping(1, round_trip_ms=3.0)), wire.Pong)
        assert [error.code for error in refused] == [wire.Code.ORDER, wire.Code.IMAGE]

        frames = "svlm_frames_total"
        dropped = 3
        now = until(
            url,
            lambda seen: (
                seen.value(frames, outcome="dropped") == dropped
                and seen.value("svlm_sessions", state="live") == 1
                and seen.value("svlm_kv_cache_tokens") > 0
            ),
        )
        window = Window(before, now)
        assert window.count("svlm_frames_received_total", key="(none)") == robot.frames
        assert window.count(frames, outcome="used") == robot.frames - dropped == 2 * CHUNKS
        assert window.count(frames, outcome="dropped", reason="order") == 1
        assert window.count(frames, outcome="dropped", reason="image") == 2
        assert window.count("svlm_refusals_total", code="order") == 1
        assert window.count("svlm_refusals_total") == 2
        assert window.count("svlm_received_bytes_total") == robot.sent_bytes
        assert window.count("svlm_sent_bytes_total") == robot.received_bytes

        results = robot.results
        assert window.count("svlm_request_success_total") == len(results) == CHUNKS
        assert window.count("svlm_prompt_tokens_total") == sum(r.prefill_tokens for r in results)
        assert window.count("svlm_generation_tokens_total") == sum(len(r.token_ids) for r in results)
        e2e = "svlm_e2e_request_latency_seconds"
        assert (
            window.count(f"{e2e}_count") == window.count("svlm_time_to_first_token_seconds_count") == CHUNKS
        )
        assert window.count(f"{e2e}_sum") == pytest.approx(sum(r.server_ms for r in results) / 1e3)
        assert 0 < window.quantile(0.5, "svlm_time_to_first_token_seconds") <= window.quantile(0.99, e2e)
        decode_ms = sum(r.stage_ms["decode"] for r in results)
        stage = "svlm_request_stage_seconds"
        assert window.count(f"{stage}_sum", stage="decode") == pytest.approx(decode_ms / 1e3)
        assert window.mean("svlm_link_round_trip_seconds", key="(none)") == pytest.approx(0.003)
        assert window.count("svlm_journal_write_seconds_count") >= CHUNKS
        assert window.count("svlm_sessions_opened_total") == 1
        assert now.value("svlm_sessions_limit") == 8
        assert 0 < now.value("svlm_kv_cache_tokens") <= now.value("svlm_kv_cache_capacity_tokens")

        robot.send(wire.Bye())
        now = until(url, lambda seen: seen.value("svlm_sessions") == 0)
        assert Window(before, now).count("svlm_sessions_ended_total", reason="bye") == 1

    lines = [line for line in logged(server) if line.get("session") == "counted"]
    assert {"session": "counted", "epoch": welcome.epoch, "seq": CHUNKS - 1, "code": "order"}.items() <= next(
        line for line in lines if line["event"] == "refused"
    ).items()
    detail = next(line for line in lines if str(line["event"]).startswith("a chunk was refused: "))
    assert (detail["seq"], detail["code"]) == (CHUNKS, "image")
    assert any(line.get("camera") == "front\nfake=line" for line in lines)


def test_top_shows_them_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    until(url, lambda seen: seen.value("svlm_request_success_total") == CHUNKS)
    assert main(["top", "--once", "--metrics", url]) == 0
    out = capsys.readouterr().out
    rows = {line.split("   ")[0].strip(): line for line in out.splitlines()}
    assert out.startswith(f"svlm top   {url}   tiny   up ")
    assert f"{CHUNKS} in all" in rows["chunks"]
    assert f"{2 * CHUNKS} used" in rows["frames"]
    assert "dropped: 1 order, 2 image" in rows["frames"]
    assert "1 image   1 order" in rows["refusals"]
    assert rows["cpu"].split()[1:4] == ["up", "0", "0"]
    assert "ms" in rows["first token"]


def test_an_idle_server_proves_that_it_decodes(url: str) -> None:
    since = "svlm_since_decode_seconds"
    steps = until(url, lambda seen: seen.value(since) > PROBE_EVERY_S - 1)
    later = until(url, lambda seen: seen.value(since) < PROBE_EVERY_S - 1)
    assert later.ready[0]
    assert Window(steps, later).count("svlm_request_success_total") == 0  # a probe is nobody's request


def test_a_worker_that_dies_is_seen(server: ServeRig, url: str) -> None:
    before = until(url, lambda seen: seen.ready[0])
    for worker in psutil.Process(server.pid).children():
        worker.kill()
    down = until(url, lambda seen: not seen.ready[0])
    assert "cpu" in down.ready[1]
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{url}/ready", timeout=5)
    assert refused.value.code == 503
    with urlopen(f"{url}/live", timeout=5) as answer:
        assert answer.status == 200
    after = until(url, lambda seen: seen.ready[0])
    assert Window(before, after).count("svlm_worker_restarts_total", device="cpu") == 1
    assert after.value("svlm_worker_up", device="cpu") == 1


def test_an_address_that_is_taken_is_one_line(url: str) -> None:
    address = url.removeprefix("http://")
    command = [sys.executable, "-m", "svlm_core.cli", "serve", "--bind", "tcp://127.0.0.1:*"]
    ended = subprocess.run([*command, "--metrics", address], capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"svlm: --metrics {address}: Address already in use"
