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

"""`svlm world bag`, `svlm eval bag` and `svlm stream BAG` as their users have them."""

from __future__ import annotations

import json
from pathlib import Path
import re
import signal
import subprocess
import sys

from bags import cut, image, png, write_bag
import pytest
from random_models import write_random_model
from svlm_core.cli.main import main

SEED, LENGTH_S = 1_000_007, 20
FILES = {"annotated.mp4", "captions.vtt", "events.jsonl", "result.json", "report.html", "timing.json"}
SMALL = ("--min-visual-tokens=4", "--max-visual-tokens=4", "--max-new-tokens=3", "--vision-window-s=4")
SMALL += ("--text-sink-tokens=8", "--text-window-tokens=16")


def svlm(*options: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    command = [sys.executable, "-m", "svlm_core.cli", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


def refusal(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in ended.stderr.splitlines() if line.startswith("svlm: ")]
    assert ended.returncode == 1 and len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return lines[0]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of the world, made by the command."""
    bag = tmp_path_factory.mktemp("bags") / "drive"
    made = svlm("world", "bag", "--seed", SEED, "--seconds", LENGTH_S, "--out", bag, "--storage", "sqlite3")
    assert (made.returncode, made.stdout) == (0, f"{bag}, {bag / 'truth.jsonl'}\n"), made.stderr
    return bag


def test_a_bag_is_made_and_evaluated_with_the_same_bytes_in_two_processes(
    drive: Path, tmp_path: Path
) -> None:
    for run in "ab":
        out = tmp_path / run / "report"
        ended = svlm("eval", "bag", drive, "--truth", drive / "truth.jsonl", "--out", out)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[0].startswith(f"{LENGTH_S} chunks (")
        assert ended.stdout.splitlines()[1].startswith("right: 1.000 of ")
        assert ended.stdout.splitlines()[2] == str(out / "report.html")
        assert {file.name for file in out.iterdir()} == FILES
        bar, *others = ended.stderr.replace("\r", "\n").strip().splitlines()
        assert all(line.startswith("/camera/image_raw: ") for line in (bar, *others))
    for name in FILES - {"report.html", "timing.json"}:
        assert (tmp_path / "a/report" / name).read_bytes() == (tmp_path / "b/report" / name).read_bytes(), (
            name
        )


def test_the_world_evaluated_from_a_bag_is_the_world(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "bag", str(drive), f"--truth={drive / 'truth.jsonl'}", f"--out={tmp_path}"]) == 0
    capsys.readouterr()
    world = ["eval", "world", f"--seed={SEED}", f"--seconds={LENGTH_S}", f"--out={tmp_path / 'world'}"]
    assert main(world) == 0
    figures = [
        json.loads((out / "result.json").read_text())["figures"] for out in (tmp_path, tmp_path / "world")
    ]
    same = set(figures[0]) & set(figures[1])
    assert same >= {"event_accuracy", "silence_precision", "silence_recall", "accuracy_by_kind"}
    assert same >= {"said_after", "over_time", "memory_by_age", "accuracy_by_quarter"}
    assert {name: figures[0][name] for name in same} == {name: figures[1][name] for name in same}


def test_a_cut_bag_leaves_its_report_and_one_line(drive: Path, tmp_path: Path) -> None:
    file = tmp_path / "drive.db3"
    file.write_bytes(next(drive.glob("*.db3")).read_bytes())
    cut(file, 0.9)
    ended = svlm("eval", "bag", file, "--out", tmp_path / "out")
    assert "/camera/image_raw breaks after frame 3" in refusal(ended)
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == FILES
    (stopped,) = json.loads((tmp_path / "out/result.json").read_text())["stopped"].values()
    assert "breaks after frame 3" in stopped


def test_ctrl_c_keeps_what_was_done(tmp_path: Path) -> None:
    bag = tmp_path / "long"
    assert main(["world", "bag", f"--seed={SEED}", "--seconds=1200", f"--out={bag}"]) == 0
    out = tmp_path / "out"
    command = [sys.executable, "-m", "svlm_core.cli", "eval", "bag", str(bag), "--out", str(out)]
    command += ["--truth", str(bag / "truth.jsonl")]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as evaluating:
        assert evaluating.stderr is not None
        shown = ""
        while not re.search("[0-9]frame/s", shown):  # the progress bar has a speed
            shown += evaluating.stderr.read(1)
        evaluating.send_signal(signal.SIGINT)
        printed, errors = evaluating.communicate(timeout=100)
    assert evaluating.returncode == 0, errors
    assert "Traceback" not in errors
    found = json.loads((out / "result.json").read_text())
    assert [*found["stopped"].values()] == ["interrupted"]
    assert 0 < found["figures"]["chunks"] < 1200
    assert found["accounting"]["counted"] == found["figures"]["chunks"]
    assert {entry.name for entry in out.iterdir()} == FILES
    assert str(out / "report.html") in printed


def test_svlm_stream_takes_a_topic_of_a_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(
        tmp_path / "bag", {"/front": [image(k) for k in range(7)] + [b"junk"], "/rear/compressed": [png(0)]}
    )
    model = write_random_model(tmp_path / "model")
    options = ["--model", str(model), *SMALL, f"--jsonl={tmp_path / 'out.jsonl'}"]
    assert main(["stream", f"{bag}?topic=/front", *options]) == 0
    shown = capsys.readouterr()
    assert "frames: 8 received, 7 used, dropped: 1 broken" in shown.err
    assert shown.out.startswith("[00:0"), "times count from the first picture"
    events = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {(event["camera"], event["frame_id"]) for event in events} == {("/front", "lens")}
    assert main(["stream", str(bag), *options]) == 1
    assert "several image topics, choose one of /front (Image), /rear/compressed (CompressedImage)" in (
        capsys.readouterr().err
    )


def test_wrong_options_of_an_evaluation_are_one_line_and_do_not_wait_for_torch(
    drive: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "truth.jsonl").write_text('{"second": 1}')
    wrongs = {
        f"{tmp_path / 'none'} --out {tmp_path}": f"{tmp_path / 'none'}: there is no such file or folder",
        f"{tmp_path / 'file'} --out {tmp_path}": f"{tmp_path / 'file'}: not a bag",
        f"{drive} --image-topic /x --out {tmp_path}": "no image topic '/x'; it has /camera/image_raw",
        f"{drive} --truth {tmp_path / 'truth.jsonl'} --out .": 'line 1: "sentence" is missing',
        f"{drive} --out {tmp_path / 'file'}": f"--out {tmp_path / 'file'}: cannot be made (File exists)",
    }
    check = (
        "import sys; from svlm_core.cli.main import main\n"
        "for wrong in sys.argv[1:]:\n"
        "    assert main(['eval', 'bag', *wrong.split()]) == 1\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", check, *wrongs], capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, ended.stderr
    for line, says in zip(ended.stderr.splitlines(), wrongs.values(), strict=True):
        assert says in line
