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

"""`svlm stream --endpoint` against a real `svlm serve` with keys, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
import json
import os
from pathlib import Path
import re
import signal
import socket as sockets
import subprocess
import sys
import threading
from typing import Any

import pytest
from serve_rig import make_keys, ServeRig
from svlm_core.cli.main import main
from svlm_core.offload.keys import KeyStore

SOURCE = "world://1?seconds=20"
LIMIT_S = 200
LEAVER = "leaver"  # a robot whose key is taken back
WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "tokenizers", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from svlm_core.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def free_endpoint() -> str:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        return f"tcp://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_keys(tmp_path_factory.mktemp("keys") / "keys", "robot", LEAVER)
    KeyStore(folder).new("stranger")
    return folder


@pytest.fixture(scope="module")
def link(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Options that lead to a server."""
    endpoint = free_endpoint()
    with ServeRig(tmp_path_factory.mktemp("server"), endpoint, "--keys", str(keys)):
        yield options(endpoint, keys)


def options(endpoint: str, keys: Path, robot: str = "robot") -> list[str]:
    at_server = ["--endpoint", endpoint, "--server-key", str(keys / "server.pub")]
    return [*at_server, "--key", str(keys / f"{robot}.key")]


def stream(*arguments: str) -> subprocess.Popen[str]:
    """`svlm stream` where torch is not installed."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "stream", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


def events(path: Path) -> list[dict[str, Any]]:
    """Without what depends on how quick the machine is."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in event.items() if name != "latency_ms"} for event in found]


def test_the_same_frames_give_the_same_events_here_and_over_the_link(link: list[str], tmp_path: Path) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    asked = ["--ask", "how many?@3", "--temperature", "0.7", "--sampling-seed", "3", "--quiet"]
    assert main(["stream", SOURCE, *asked, "--jsonl", str(here)]) == 0
    code, out, err = ended(stream(SOURCE, *asked, *link, "--lossless", "--jsonl", str(there)))
    assert (code, out) == (0, ""), err
    assert len(events(here)) > 3 and "answer" in {event["kind"] for event in events(here)}
    assert events(there) == events(here)
    lines = err.splitlines()
    assert lines[0].startswith("svlm: connecting to tcp://") and lines[1] == "svlm: link live"
    assert "40 received, 40 used" in lines[-1]
    assert re.search(r"; link live, 0 reconnects, round trip [0-9.]+ ms$", lines[-1])


def test_jpegs_partial_words_and_several_cameras(link: list[str], tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    sources = [SOURCE, "world://2?seconds=10"]
    code, out, err = ended(stream(*sources, *link, "--partial", "--jpeg-quality", "95", "--jsonl", str(file)))
    assert code == 0, err
    assert "world://1 [00:01.0] new white 1   (" in out and "world://2 " in out
    assert err.count("link live\n") == 2 and "world://2: 10 chunks" in err
    of_one = [event for event in events(file) if event["camera"] == "world://1"]
    finals = [event for event in of_one if event["kind"] != "partial"]
    assert [event["seq"] for event in finals] == list(range(len(finals)))
    said = {event["seq"]: event["text"] for event in finals}
    partials = [event for event in of_one if event["kind"] == "partial"]
    assert partials and all(said[event["seq"]].startswith(event["text"]) for event in partials)


def test_ctrl_c_ends_with_a_summary_and_the_server_forgets_the_stream(link: list[str]) -> None:
    process = stream("world://1", *link, "--realtime")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 0 and "Traceback" not in err
    assert "received" in err.splitlines()[-1]
    assert_accounted(err)


def test_a_key_that_is_revoked_ends_a_recording_and_every_frame_is_accounted_for(
    link: list[str], keys: Path
) -> None:
    process = stream("world://1?seconds=3600", *options(link[1], keys, LEAVER))
    assert process.stdout is not None
    process.stdout.readline()
    KeyStore(keys).revoke(LEAVER)
    code, _, err = ended(process)
    assert code == 1 and "Traceback" not in err
    assert "this robot's key" in err.splitlines()[-1]
    assert_accounted(err)


def assert_accounted(err: str) -> None:
    """The summary has a place for every frame."""
    found = re.search(r"frames: (\d+) received, (\d+) used, dropped: ([^;]+);", err)
    assert found is not None
    dropped = sum(int(count) for count in re.findall(r"\d+", found[3]))
    assert int(found[1]) == int(found[2]) + dropped > 0, found[0]


def test_a_server_that_is_killed_and_started_again(keys: Path, tmp_path: Path) -> None:
    """The robot says so, comes back by itself, and nothing is silently missing."""
    endpoint, file = free_endpoint(), tmp_path / "events.jsonl"
    with ServeRig(tmp_path / "server", endpoint, "--keys", str(keys)) as server:
        process = stream("world://1", *options(endpoint, keys), "--realtime", "--jsonl", str(file))
        assert process.stdout is not None and process.stderr is not None
        lines: list[str] = []
        threading.Thread(target=lambda: lines.extend(process.stdout or []), daemon=True).start()
        state = iter(process.stderr.readline, "")
        assert any("link live" in line for line in state)
        wait_until(lambda: bool(lines), "no words")
        server.kill()
        assert any("link stalled: the connection broke" in line for line in state)
        server.start()
        assert any("link live" in line for line in state)
        said = len(lines)
        wait_until(lambda: any("-- reset:" in line for line in lines[said:]), "no reset")
        wait_until(lambda: "-- reset:" not in lines[-1], "no words after the reset")
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT_S)
        summary = "".join(state).splitlines()[-1]
    assert "link live, 1 reconnects" in summary
    received, used = map(int, re.findall(r"(\d+) received, (\d+) used", summary)[0])
    dropped = sum(int(frames) for frames in re.findall(r"(\d+) (?:link|stale|rate)", summary))
    assert used + dropped <= received <= used + dropped + 4, "but for the chunk at the end"
    found = events(file)
    assert [event["seq"] for event in found] == list(range(len(found)))
    resets = [number for number, event in enumerate(found) if event["kind"] == "reset"]
    assert len(resets) == 1 and "what was said is kept" in found[resets[0]]["text"]
    assert found[resets[0] - 1]["kind"] == "gap"


def wait_until(condition: Any, what: str) -> None:
    for _ in range(LIMIT_S * 20):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError(what)


@pytest.mark.parametrize(
    ("robot", "server", "line"),
    [
        ("stranger", "server", "the server does not allow this robot's key: svlm keys allow, on the server"),
        ("robot", "stranger", "the server has another key than this robot was told"),
    ],
)
def test_a_wrong_key_is_one_line(link: list[str], keys: Path, robot: str, server: str, line: str) -> None:
    arguments = options(link[1], keys, robot)
    arguments[3] = str(keys / f"{server}.pub")
    code, out, err = ended(stream(SOURCE, *arguments))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"svlm: {line}" and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--endpoint", "tcp://h:1", "--dtype", "bfloat16", "--model", "x"],
            "--model, --dtype: with --endpoint",
        ),
        (["--key", "robot.key"], "--key: only with --endpoint"),
        (["--lossless", "--unencrypted"], "--unencrypted, --lossless: only with --endpoint"),
        (["--endpoint", "tcp://h:1", "--lossless", "--jpeg-quality", "90"], "exclude each other"),
        (["--endpoint", "tcp://h:1", "--jpeg-quality", "0"], "--jpeg-quality must be 1 to 100"),
        (["--endpoint", "tcp://h:1", "--key", "robot.key"], "--server-key is missing"),
        (["--endpoint", "nonsense"], "must look like tcp://HOST:PORT"),
        (["--endpoint", "tcp://192.0.2.1:5577"], "goes beyond this machine: give keys"),
    ],
)
def test_options_that_make_no_sense_are_named(
    arguments: list[str], line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["stream", SOURCE, *arguments]) == 1
    lines = [text for text in capfd.readouterr().err.splitlines() if "connecting" not in text]
    assert len(lines) == 1 and line in lines[0]


def test_a_setting_that_the_server_does_not_take_is_named(link: list[str]) -> None:
    code, _, err = ended(stream(SOURCE, *link, "--fps", "0.3"))
    assert code == 1
    assert err.splitlines()[-1].startswith("svlm: the server refuses a setting"), err
