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

"""Benchmarks killed at random moments, alone and as one rank of several, end with the same figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import random
import re
import signal
import subprocess
import sys
import time
from typing import Any

from benchmark_rig import inf_streams, LENGTH_S, ovo_question, result, VIDEOS, write_videos
from chat_server import chat_server
from planted_judges import Taste
import psutil
import pytest
from svlm_core.cli.main import main

SVLM = [sys.executable, "-m", "svlm_core.cli", "eval"]
BY_HAND, BY_LAUNCHER = signal.SIGINT, signal.SIGKILL
BEGUN = re.compile(rb"\d+/\d+ \[")  # the progress bar is there: the model is loaded
JUDGE_S = 0.03  # a judge takes its time, so that there is something to interrupt
LONGEST_S = 1.5  # from the progress bar to the signal: less than the work takes
BEFORE_BEGUN = 0.1  # share of the signals that come while Python and the model load
START_LIMIT_S = 600  # of a busy machine

PATIENT = ("--baseline", "policy:last-frames", "--timeout-s", 60)  # with a judge on a busy machine

Command = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_videos(folder)
    asked = [ovo_question(VIDEOS[n % len(VIDEOS)], 1 + n % LENGTH_S, n) for n in range(4 * LENGTH_S)]
    (folder / "ovo.json").write_text(json.dumps(asked))
    return folder


@pytest.fixture(scope="module")
def judge_url() -> Iterator[str]:
    """A judge that prefers by a planted rule, as a server of its own."""
    taste = Taste(seed=4)

    def reply(body: dict[str, Any]) -> str:
        time.sleep(JUDGE_S)
        return taste(body)

    with chat_server(reply) as server:
        yield server.url


@pytest.fixture
def commands(data: Path, judge_url: str) -> dict[str, Command]:
    """What is run into a folder, by benchmark."""
    return {
        "inf-streams": lambda out: inf_streams(data, out, judge_url, *PATIENT),
        "ovo": lambda out: ["ovo", str(data / "ovo.json"), "--videos", str(data), "--out", str(out)],
    }


@contextmanager
def running(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else ():
            child.kill()
        process.kill()
        process.communicate()


def wait_until_begun(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    shown = b""
    while not BEGUN.search(shown):
        block = process.stderr.read1(4096)
        assert block, f"it ended before it began: {shown.decode()}"
        shown += block


def interrupted(words: list[str], chance: random.Random, by: signal.Signals) -> bool:
    """Run until a random moment; whether the signal came before the end."""
    with running(words) as process:
        if chance.random() < BEFORE_BEGUN:
            time.sleep(chance.uniform(0, LONGEST_S))
        else:
            wait_until_begun(process)
            time.sleep(chance.uniform(0, LONGEST_S))
        process.send_signal(by)
        _, said = process.communicate(timeout=START_LIMIT_S)
    assert b"svlm: " not in said, said.decode()  # it refuses nothing that an earlier one left
    return process.returncode != 0


def finished(words: list[str], folder: Path) -> dict[str, Any]:
    """What it finds when nobody disturbs it, and the records behind it."""
    assert main(["eval", *words]) == 0
    return everything(folder)


def everything(folder: Path) -> dict[str, Any]:
    """A run's result and its records, but for what a clock measured."""
    records: dict[str, Any] = {}
    for file in sorted(folder.glob("*-of-*.jsonl")):
        stage = records.setdefault(file.name.split("-")[0], {})
        for line in file.open():
            record = json.loads(line)
            stage[record["id"]] = {name: value for name, value in record.items() if name != "clock"}
    return {"result": result(folder), "records": records}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("benchmark", "times"),
    [
        ("inf-streams", 2),
        pytest.param("inf-streams", 10, marks=pytest.mark.slow),  # each time Python and torch start anew
        pytest.param("ovo", 10, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_and_started_again_the_result_is_the_same(
    benchmark: str, times: int, commands: dict[str, Command], tmp_path: Path
) -> None:
    chance, command = random.Random(times), commands[benchmark]
    expected = finished(command(tmp_path / "whole"), tmp_path / "whole")
    signals = [(BY_LAUNCHER, BY_HAND)[n % 2] for n in range(times)]
    runs = 0
    while signals:  # a run that was quicker than its signals is compared, and another one takes the rest
        runs += 1
        out = tmp_path / f"run{runs}"
        while signals and interrupted([*SVLM, *command(out)], chance, signals[-1]):
            signals.pop()
        assert finished(command(out), out) == expected


LAUNCHERS = {  # without GPUs, accelerate takes several processes of one machine only when told that it may
    "accelerate": ["accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes=2"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node=2"],
}


@pytest.mark.timeout(3600)
@pytest.mark.slow  # three starts of Python and torch, twice
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("benchmark", ["inf-streams", "ovo"])
def test_a_rank_is_killed_and_all_go_on_to_the_same_result(
    launcher: str, benchmark: str, commands: dict[str, Command], tmp_path: Path
) -> None:
    command, out = commands[benchmark], tmp_path / "run"
    expected = finished(command(tmp_path / "whole"), tmp_path / "whole")
    port = ["--main_process_port=0"] if launcher == "accelerate" else []
    ranks = [*LAUNCHERS[launcher], *port, "-m", "svlm_core.cli", "eval", *command(out), "--shard", "auto"]
    with running([sys.executable, "-m", *ranks]) as launched:
        wait_until_begun(launched)
        first, *_ = psutil.Process(launched.pid).children()
        first.kill()
        _, said = launched.communicate(timeout=START_LIMIT_S)
    assert launched.returncode != 0, said.decode()
    assert not (out / "result.json").exists(), "its videos are not done"
    subprocess.run([sys.executable, "-m", *ranks], check=True, timeout=START_LIMIT_S)
    assert everything(out) == expected
    done = [sorted(json.loads(line)["id"] for line in file.open()) for file in _last_stage(out)]
    assert len(done) == 2 and all(done), "both did a part"
    assert not set(done[0]) & set(done[1]), "and nothing twice"


def _last_stage(out: Path) -> list[Path]:
    return sorted([*out.glob("judged-*-of-2.jsonl"), *out.glob("answers-*-of-2.jsonl")])
