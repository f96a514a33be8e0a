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

"""`svlm bench` as its users have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import json
from pathlib import Path
import struct
import subprocess
import sys

from jsonschema import validate
import pytest
from svlm_core.bench.plot import HEIGHT_PX, WIDTH_PX
from svlm_core.cli.main import main
from svlm_core.config import POLICIES

SMALL = (
    "--threads=1",
    "--vision-window-s=2",
    "--text-sink-tokens=4",
    "--text-window-tokens=8",
    "--new-tokens=2",
)
NUMBERS = {"type": "array", "items": {"type": "number", "minimum": 0}}
POLICY_PROPERTIES = {
    "chunk_ms": NUMBERS,
    "cache_bytes": NUMBERS,
    "cache_tokens": NUMBERS,
    "allocated_bytes": {"type": "integer"},
    "stopped": {"type": ["string", "null"]},
    "untrained_at": {"type": ["integer", "null"]},
    "summary": {"type": "object"},
}
POLICY = {
    "type": "object",
    "required": list(POLICY_PROPERTIES),
    "properties": POLICY_PROPERTIES,
    "additionalProperties": False,
}
EFFICIENCY = {
    "type": "object",
    "required": ["policies", "interrupted", "model", "parameters", "dtype", "device", "threads", "settings"],
    "properties": {
        "policies": {"type": "object", "additionalProperties": POLICY},
        "interrupted": {"type": "boolean"},
        "model": {"const": "tiny"},
        "parameters": {"const": 1331872},
    },
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Bench = Callable[..., Ended]


@pytest.fixture
def bench(capfd: pytest.CaptureFixture[str]) -> Bench:
    """Runs `svlm bench WHAT OPTIONS`."""

    def run(*arguments: object) -> Ended:
        code = main(["bench", *map(str, arguments)])
        return Ended(code, *capfd.readouterr())

    return run


def test_efficiency_prints_json_and_draws(bench: Bench, tmp_path: Path) -> None:
    plot = tmp_path / "out.png"
    ended = bench(
        "efficiency", "--model=tiny", "--chunks=12", "--policies=all", "--json", "--plot", plot, *SMALL
    )
    assert ended.code == 0
    figures = json.loads(ended.out)
    validate(figures, EFFICIENCY)
    assert tuple(figures["policies"]) == POLICIES
    assert {len(policy["chunk_ms"]) for policy in figures["policies"].values()} == {12}
    assert struct.unpack(">II", plot.read_bytes()[16:24]) == (WIDTH_PX, HEIGHT_PX)
    assert "window-recompute" in ended.err, "the table goes where the JSON does not"


def test_efficiency_writes_json_to_a_file_and_names_what_broke(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    options = ("--policies=full,streaming", "--chunks=12", "--full-capacity-tokens=256")
    ended = bench("efficiency", *options, "--json", file, *SMALL)
    assert ended.code == 0
    figures = json.loads(file.read_text())
    validate(figures, EFFICIENCY)
    assert list(figures["policies"]) == ["full", "streaming"]
    chunks = len(figures["policies"]["full"]["chunk_ms"])
    assert f"full broke after {chunks} chunks: the KV cache is full: " in ended.out
    assert ended.out.startswith("policy ")


def test_limit_prints_its_table(bench: Bench) -> None:
    ended = bench("limit", "--rounds=2", *SMALL)
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()[:7]] == [
        "stage",
        "preprocess",
        "vision",
        "cache",
        "prefill",
        "decode",
        "chunk",
    ]
    assert "memory is read at " in ended.out


def test_capacity_prints_its_table(bench: Bench) -> None:
    ended = bench("capacity", "--cameras=2,1", "--rounds=2", "--json", *SMALL)
    assert ended.code == 0
    assert [row["cameras"] for row in json.loads(ended.out)["cameras"]] == [1, 2]
    assert "cameras are held in real time" in ended.err


def test_frames_decide_the_visual_tokens(bench: Bench) -> None:
    ended = bench("limit", "--rounds=1", "--frame=112x56", "--json", *SMALL)
    assert json.loads(ended.out)["grid"] == [1, 4, 8]
    ended = bench("limit", "--rounds=1", "--frame=640x480", "--visual-tokens=12", "--json", *SMALL)
    assert json.loads(ended.out)["grid"] == [1, 6, 8]


def test_plan_needs_no_torch() -> None:
    check = (
        "import sys; from svlm_core.cli.main import main\n"
        "assert main('bench plan --gpu h100 --model qwen2.5-vl-7b --json'.split()) == 0\n"
        "assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["parameters"] == 8292166656
    assert figures["plan"]["cameras"] > 1
    assert "cameras in real time" in ended.stderr


def test_offload_measures_a_server_of_its_own(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    ended = bench("offload", "--frames=640x480,112x84", "--rounds=3", f"--json={file}")
    assert ended.code == 0, ended.err
    figures = json.loads(file.read_text())
    large, small = figures["sizes"]
    assert (large["width_px"], large["height_px"], small["width_px"]) == (640, 480, 112)
    assert 1.0 < 8 * large["chunk_bytes"] / (2 * 640 * 480) < 3.0, "bits a pixel, as of a real camera"
    for row in (large, small):
        assert row["over_link_ms"] > row["transport_ms"] > 0
        assert row["overhead_ms_p25"] <= row["overhead_ms"] <= row["overhead_ms_p75"]
    assert figures["overhead_ms"] == large["overhead_ms"]
    assert figures["within_limit"] == (large["overhead_ms"] <= figures["limit_ms"])
    assert "640x480" in ended.out and "the limit of 2.0 ms" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("efficiency --model huge", "--model huge: no such shape; there are tiny, s, m, 3b, 7b"),
        ("efficiency --policies full,fulll", "--policies: 'fulll' is none; there are all, streaming, full"),
        ("efficiency --chunks 0", "--chunks must be at least 1, got 0"),
        ("efficiency --full-capacity-tokens 0", "full_capacity_tokens must lie between 256 and"),
        ("efficiency --plot out.jpeg", "--plot out.jpeg: must end in .png, .svg or .pdf"),
        ("efficiency --plot nowhere/out.png", "--plot nowhere/out.png: cannot be written (No such file"),
        ("efficiency --json nowhere/out.json", "--json nowhere/out.json: cannot be written (No such file"),
        ("limit --threads 0", "--threads must be at least 1, got 0"),
        ("limit --rounds 0", "--rounds must be at least 1, got 0"),
        ("limit --frame 640", "--frame 640: must be WIDTHxHEIGHT, like 640x480, each at least 28"),
        ("limit --frame 640x9", "--frame 640x9: must be WIDTHxHEIGHT, like 640x480, each at least 28"),
        ("limit --new-tokens 0", "max_new_tokens must lie between 1 and 1024, got 0"),
        ("limit --device tpu", "device 'tpu' cannot be used here"),
        ("capacity --cameras 1,x", "--cameras 1,x: must be numbers with commas between them"),
        ("capacity --cameras 0,1", "--cameras 0,1: each must lie between 1 and 64"),
        ("offload --frames 640x480,x", "--frames x: must be WIDTHxHEIGHT, like 640x480, each at least 28"),
        ("offload --frames 9000x480", "--frames 9000x480: a link takes pictures of 8192 px at most"),
        ("offload --rounds 0", "--rounds must be at least 1, got 0"),
        ("plan --gpu h1 --model 7b", "--gpu h1: not in the table; there are h100"),
        ("plan --gpu h100 --model 9b", "--model 9b: no such shape"),
        (
            "plan --gpu h100 --model 7b --compute-share 1.5",
            "--compute-share must lie above 0 and not above 1",
        ),
        ("plan --gpu h100 --model 7b --visual-tokens 0", "--visual-tokens must be at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: str, message: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = bench(*arguments.split())
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith("svlm: ")
    assert message in ended.err
