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

"""`svlm data` as people run it."""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
from typing import Any

from chat_server import chat_server
import pytest
from svlm_core.cli.main import main
from svlm_core.data.seek_index import SampleFile
from svlm_core.data.transcript import read_transcript
from svlm_core.world.bag import write_bag

MakeTalk = Callable[..., Path]


@pytest.fixture
def built(world_video: Path, talk: MakeTalk, tmp_path: Path) -> Path:
    """Samples of a minute of the world."""
    talk()
    out = tmp_path / "set"
    arguments = [str(world_video), "--transcripts", str(tmp_path), "--out", str(out), "--held-out", "0"]
    assert main(["data", "build", *arguments, "--processes", "1"]) == 0
    return out / "train_with_seeks.jsonl"


def test_build_says_what_it_made(
    world_video: Path, talk: MakeTalk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    arguments = [str(world_video), "--transcripts", str(talk()), "--out", str(out), "--held-out", "0"]
    assert main(["data", "build", *arguments]) == 0
    said = capsys.readouterr().out
    assert "train  4 samples of 1 videos, 0.03 h, 96 words" in said
    assert f"svlm data show {out / 'train_with_seeks.jsonl'}" in said


def test_show_writes_a_page(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["data", "show", f"{built}:2", "--out", str(page)]) == 0
    assert "match.mp4 at 24 s" in page.read_text()
    assert main(["data", "show", f"{built}:9", "--out", str(page)]) == 1
    assert "there is no sample 9" in capsys.readouterr().err


def test_check_names_what_is_broken(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["data", "check", str(built)]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 4
    copied = shutil.copy(built, tmp_path / "elsewhere.jsonl")  # no index, and no video beside it
    with copied.open("a") as file:
        file.write("{\n")
    assert main(["data", "check", str(copied)]) == 1
    said = capsys.readouterr().out
    assert "4 x a sample whose video cannot be read: sample 0" in said
    assert f"1 x a line that is not a sample: {copied}: sample 4" in said


def test_anneal_chooses(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = tmp_path / "elsewhere" / "chosen.jsonl"
    chosen.parent.mkdir()
    capsys.readouterr()
    assert main(["data", "anneal", str(built), "--out", str(chosen), "--max-silence-s", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out) == {"chosen": 4, "rejected": {}, "problems": {}}
    samples = SampleFile(chosen)
    assert samples.locate(samples[0]).exists()
    assert main(["data", "anneal", str(built), "--out", str(chosen), "--min-live-share", "0.5"]) == 1
    assert "give --endpoint and --judge" in capsys.readouterr().err
    assert main(["data", "anneal", str(built), "--out", str(built)]) == 1


def test_clean_writes_transcripts_to_build_from(
    talk: MakeTalk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "match.srt"
    path.write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nA goal.\n\n2\n00:00:03,000 --> 00:00:04,000\nBuy it.\n"
    )

    def judge(body: dict[str, Any]) -> str:
        asked = json.loads(body["messages"][1]["content"])["sentence"]
        return json.dumps({"verdict": "delete" if asked == "Buy it." else "keep"})

    out = tmp_path / "clean"
    with chat_server(judge) as server:
        arguments = ["data", "clean", str(path), "--out", str(out), "--endpoint", server.url, "--judge", "j"]
        assert main(arguments) == 0
        assert "1 x delete" in capsys.readouterr().out
        assert [word.text for word in read_transcript(out / "match.jsonl").words] == ["A", "goal."]
        assert main(arguments) == 0
        assert len(server.bodies) == 2


def test_from_bag_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bag(1, 2, tmp_path / "drive", "mcap", "raw", lambda seconds: None)
    arguments = ["data", "from-bag", str(tmp_path / "drive"), "--text-topic", "/log"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "no topic '/log' of std_msgs/msg/String; it has none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--overlap-s", "30"], "overlap_s must lie between 0 and window_s"),
        (["--held-out", "2"], "held-out share"),
        (["--transcripts", "nowhere"], "nowhere: there is no such file or folder"),
    ],
)
def test_wrong_options_are_one_line(
    world_video: Path,
    talk: MakeTalk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    message: str,
) -> None:
    arguments = [str(world_video), "--transcripts", str(talk()), "--out", str(tmp_path / "out"), *changes]
    assert main(["data", "build", *arguments]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("svlm: ")
    assert message in error


def test_interrupted_and_started_again_it_goes_on(world_video: Path, talk: MakeTalk, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for n in range(60):
        shutil.copy(world_video, videos / f"v{n}.mp4")
        talk(f"v{n}.jsonl")
    out = tmp_path / "out"
    arguments = ["data", "build", str(videos), "--transcripts", str(tmp_path), "--out", str(out)]
    command = [sys.executable, "-m", "svlm_core.cli", *arguments, "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stderr is not None
    seen = ""
    while not re.search(r" [1-9][0-9]?/60 ", seen):
        more = process.stderr.read(1)
        assert more, seen
        seen += more
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    done = {file: file.stat().st_mtime_ns for file in (out / "parts").glob("*.json")}
    assert 0 < len(done) < 60
    assert not (out / "report.json").exists()
    assert main([*arguments, "--processes", "1"]) == 0
    assert all(file.stat().st_mtime_ns == stamp_ns for file, stamp_ns in done.items())
    report = json.loads((out / "report.json").read_text())
    assert report["train"]["samples"] + report["valid"]["samples"] == 240
