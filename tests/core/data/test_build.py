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

"""From files to samples: the same in one process or several, stopped or not, whatever the files are like."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import shutil
from typing import Any

from conftest import WriteVideo
import pytest
from svlm_core.data.build import (
    BAD_TRANSCRIPT,
    BAD_VIDEO,
    build,
    CUT_OFF,
    NO_TRANSCRIPT,
    NO_VIDEO,
    pair_up,
    REPORT,
)
from svlm_core.data.cut import CutSettings, TOO_FEW_WORDS, TOO_SHORT
from svlm_core.data.problems import Problems
from svlm_core.data.seek_index import SampleFile, samples_path
from svlm_core.data.whisper import NOT_A_WORD, NOT_JSON
from svlm_core.data.words import BEYOND_END, OUT_OF_ORDER, OVERLAPPING
from svlm_core.errors import ConfigError

SETTINGS = CutSettings(24.0, 12.0, 6)
MakeTalk = Callable[..., Path]


def made(
    videos: list[Path],
    transcripts: list[Path],
    out: Path,
    settings: CutSettings = SETTINGS,
    held_out: float = 0.0,
    processes: int = 1,
) -> tuple[dict[str, Any], list[str]]:
    """The report and the training samples' lines."""
    pairs, problems = pair_up(videos, transcripts)
    report = build(pairs, problems, out, settings, held_out, processes, lambda done: None)
    assert json.loads((out / REPORT).read_text()) == report
    return report, samples_path(out, "train").read_text().splitlines()


def test_a_minute_makes_four_samples(world_video: Path, talk: MakeTalk, tmp_path: Path) -> None:
    report, lines = made([world_video], [talk()], tmp_path / "out")
    assert len(lines) == report["train"]["samples"] == 4
    samples = SampleFile(samples_path(tmp_path / "out", "train"))
    second = samples[1]
    assert (second.start_s, second.end_s) == (12.0, 36.0)
    assert [word.text for word in second.words] == [f"w{n}" for n in range(12, 36)]
    assert second.previous == " ".join(f"w{n}" for n in range(12))
    assert samples.locate(second).resolve() == world_video
    assert report["problems"] == {}


def test_several_processes_make_what_one_makes(world_video: Path, talk: MakeTalk, tmp_path: Path) -> None:
    videos = [Path(shutil.copy(world_video, tmp_path / f"v{n}.mp4")) for n in range(4)]
    transcripts = [talk(f"v{n}.jsonl", 60 - n) for n in range(4)]
    one = made(videos, transcripts, tmp_path / "one", held_out=0.5)
    several = made(videos, transcripts, tmp_path / "two", held_out=0.5, processes=2)
    assert one == several
    assert one[0]["train"]["videos"] + one[0]["valid"]["videos"] == 4


def test_what_is_done_is_not_done_again(world_video: Path, talk: MakeTalk, tmp_path: Path) -> None:
    first = Path(shutil.copy(world_video, tmp_path / "a.mp4"))
    second = Path(shutil.copy(world_video, tmp_path / "b.mp4"))
    spoken = [talk("a.jsonl"), talk("b.jsonl")]
    out = tmp_path / "out"
    made([first], spoken[:1], out)  # as if it had been stopped after the first
    (part,) = (out / "parts").glob("a-*.jsonl")
    stamp_ns = part.stat().st_mtime_ns
    _, lines = made([first, second], spoken, out)
    assert len(lines) == 8
    assert part.stat().st_mtime_ns == stamp_ns
    assert made([first, second], spoken, tmp_path / "fresh")[1] == lines
    talk("a.jsonl", 30)  # another transcript, another part
    assert len(made([first, second], spoken, out)[1]) < 8


def test_bad_files_are_named_and_the_good_ones_used(
    world_video: Path, talk: MakeTalk, write_video: WriteVideo, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(world_video.read_bytes()[:5000])
    short = write_video("short.mp4", frames=30)
    silent = Path(shutil.copy(world_video, tmp_path / "silent.mp4"))
    half = write_video("half.mkv", frames=600, noise=True)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    alone = write_video("alone.mp4")
    videos = [world_video, empty, torn, short, silent, half, alone]
    names = ["match", "empty", "torn", "short", "half", "nobody"]
    transcripts = [talk(f"{name}.jsonl") for name in names]
    (tmp_path / "silent.srt").touch()
    transcripts.append(tmp_path / "silent.srt")
    report, lines = made(videos, transcripts, tmp_path / "out")
    problems = report["problems"]
    assert problems[BAD_VIDEO]["count"] == 2
    assert "empty.mp4: the file is empty" in problems[BAD_VIDEO]["first"][0]
    assert "torn.mp4: cannot be read as a video" in problems[BAD_VIDEO]["first"][1]
    assert problems[NO_TRANSCRIPT]["first"] == [str(alone)]
    assert problems[NO_VIDEO]["first"] == [str(transcripts[5])]
    assert problems[BAD_TRANSCRIPT]["first"][0].startswith(f"{tmp_path / 'silent.srt'}: not one word")
    assert "half.mkv: after" in problems[CUT_OFF]["first"][0]
    assert report["rejected"][TOO_SHORT] == 1
    used = {json.loads(line)[0]["content"][0]["video"] for line in lines}
    assert {Path(video).name for video in used} == {"match.mp4", "half.mkv"}


def test_bad_words_are_counted_and_the_rest_used(world_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "match.jsonl"
    good = "".join(f'[{n}, {n + 0.5}, "w{n}"]\n' for n in range(40))
    path.write_text(
        good + '[39.2, 39.9, "overlap"]\n[NaN, 3, "nan"]\n[12.6, 12.9, "late"]\n[61, 62, "beyond"]\n{\n'
    )
    report, lines = made([world_video], [path], tmp_path / "out")
    counts = {kind: entry["count"] for kind, entry in report["problems"].items()}
    assert counts == {NOT_A_WORD: 1, NOT_JSON: 1, OUT_OF_ORDER: 1, OVERLAPPING: 1, BEYOND_END: 1}
    assert report["problems"][NOT_JSON]["first"] == [f"{path}:45"]
    assert '"late"' in lines[0]
    assert "beyond" not in "".join(lines)
    assert len(lines) == 3
    assert report["rejected"] == {TOO_FEW_WORDS: 1}


def test_nothing_at_all_is_an_error_that_says_where_to_look(
    world_video: Path, talk: MakeTalk, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"not one sample came of it; .*report\.json says why"):
        made([world_video], [talk(seconds=2)], tmp_path / "out")
    assert json.loads((tmp_path / "out" / REPORT).read_text())["rejected"] == {TOO_FEW_WORDS: 4}


def test_pairs_go_by_name(tmp_path: Path) -> None:
    videos = [tmp_path / "a.mp4", tmp_path / "b.mkv"]
    pairs, problems = pair_up(videos, [tmp_path / "b.en.vtt", tmp_path / "a.json"])
    assert [(pair.video.name, pair.transcript.name) for pair in pairs] == [
        ("a.mp4", "a.json"),
        ("b.mkv", "b.en.vtt"),
    ]
    assert problems == Problems()
    with pytest.raises(ConfigError, match="two transcripts of one name"):
        pair_up(videos, [tmp_path / "a.srt", tmp_path / "a.vtt"])
    with pytest.raises(ConfigError, match="two videos of one name"):
        pair_up([tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4"], [tmp_path / "a.srt"])


def test_a_wrong_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="held-out share"):
        build([], Problems(), tmp_path, SETTINGS, 1.0, 1, lambda done: None)
