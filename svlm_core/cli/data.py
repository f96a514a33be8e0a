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

"""`svlm data ...`: from videos and what was said over them to samples to train on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
from typing import Any

from svlm_core.cli.data_look import add_bench, add_check, add_show, print_problems
from svlm_core.cli.data_text import add_anneal, add_clean
from svlm_core.data.build import build, Pair, pair_up, REPORT
from svlm_core.data.cut import CutSettings
from svlm_core.data.from_bag import from_bag
from svlm_core.data.problems import Problems
from svlm_core.data.seek_index import samples_path
from svlm_core.data.transcript import SUFFIXES
from svlm_core.errors import ConfigError
from tqdm import tqdm

_VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".flv", ".ts", ".m4v", ".mpg")
_HELD_OUT = 0.05


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "data",
        help="make, look at and sift samples to train on",
        description="Samples to train on, from videos and what was said over them. docs/data.md explains.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_build(actions)
    _add_from_bag(actions)
    add_clean(actions)
    add_anneal(actions)
    add_check(actions)
    add_show(actions)
    add_bench(actions)


def _add_build(actions: Any) -> None:
    parser = actions.add_parser(
        "build",
        help="videos and transcripts become samples",
        description="Cut videos with timed transcripts into samples that overlap. Stopped at any moment and "
        "started again with the same command, it goes on; what is done is not done again. A video or a line "
        "that cannot be read is counted and named in OUT/report.json, never replaced by another.",
    )
    parser.add_argument(
        "videos", type=Path, nargs="+", metavar="VIDEO", help=f"files, or folders with {', '.join(_VIDEOS)}"
    )
    parser.add_argument(
        "--transcripts",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="files or folders; match.srt belongs to match.mp4. SRT, VTT, the JSON of Whisper or WhisperX, "
        "or JSON lines with a word each",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the samples")
    _add_cut(parser, CutSettings())
    parser.add_argument(
        "--held-out",
        type=float,
        default=_HELD_OUT,
        metavar="SHARE",
        help="of the videos, chosen by their names, whose samples are for validation (default: %(default)s)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many videos are worked on at once (default: one for each core)",
    )
    parser.set_defaults(run=run_build)


def _add_cut(parser: argparse.ArgumentParser, default: CutSettings) -> None:
    parser.add_argument(
        "--window-s", type=float, default=default.window_s, help="length of a sample (default: %(default)s)"
    )
    parser.add_argument(
        "--overlap-s",
        type=float,
        default=default.overlap_s,
        help="by which a sample overlaps the next (default: %(default)s)",
    )
    parser.add_argument(
        "--min-words",
        type=int,
        default=default.min_words,
        help="with fewer words a stretch is no sample (default: %(default)s)",
    )
    parser.add_argument("--query", default="", help="what the user asks of all (default: nothing)")


def _cut_settings(options: argparse.Namespace) -> CutSettings:
    return CutSettings(
        options.window_s, options.overlap_s, options.min_words, CutSettings().previous_words, options.query
    )


def run_build(options: argparse.Namespace) -> int:
    """Build samples."""
    settings = _cut_settings(options)
    videos = _found(options.videos, _VIDEOS, options.out)
    pairs, problems = pair_up(videos, _found(options.transcripts, SUFFIXES, options.out))
    _build(pairs, problems, options.out, settings, options.held_out, options.processes)
    return 0


def _build(
    pairs: Any, problems: Problems, out: Path, settings: CutSettings, held_out: float, processes: int
) -> None:
    with tqdm(total=len(pairs), unit="video", desc="build", file=sys.stderr) as bar:
        report = build(pairs, problems, out, settings, held_out, min(processes, len(pairs)), bar.update)
    for name in ("train", "valid"):
        print(f"{name:6s} {_in_words(report[name])}")
    for reason, count in report["rejected"].items():
        print(f"{count:6d} x {reason}")
    print_problems(problems)
    first = samples_path(out, "train" if report["train"]["samples"] else "valid")
    print(f"all figures: {out / REPORT}; look before you train: svlm data show {first}")


def _in_words(figures: dict[str, Any]) -> str:
    if not figures["samples"]:
        return "no samples"
    silent = f"{100 * figures['silent_rounds_share']:.0f} % of rounds silent"
    counted = f"{figures['samples']} samples of {figures['videos']} videos, {figures['hours']:.2f} h"
    return f"{counted}, {figures['words']} words, {silent}"


def _found(given: list[Path], suffixes: tuple[str, ...], out: Path) -> list[Path]:
    """The files given, and those in the folders given but not in `out`, in order, without doubles.

    Raises:
        ConfigError: one does not exist, or a folder has none of them.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in suffixes and out.resolve() not in file.resolve().parents
            )
            if not inside:
                raise ConfigError(f"{path}: no file in it ends in {', '.join(suffixes)}")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise ConfigError(f"{path}: there is no such file or folder")
    return list(found)


def _add_from_bag(actions: Any) -> None:
    parser = actions.add_parser(
        "from-bag",
        help="a robot's recordings become samples",
        description="Samples from rosbag2 recordings, without ROS: a camera, and a topic of std_msgs/String "
        "with svlm's commentary (JSON), speech or an operator's log. Writes a video and a transcript of each "
        "bag to OUT/recordings, and samples of them as svlm data build does.",
    )
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="a folder, .mcap or .db3 file")
    parser.add_argument(
        "--image-topic", default="", metavar="T", help="not needed when a bag has only one image topic"
    )
    parser.add_argument("--text-topic", required=True, metavar="T", help="of std_msgs/String")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the samples")
    _add_cut(parser, CutSettings(min_words=1))  # robots say less than sports commentators
    parser.add_argument(
        "--held-out", type=float, default=0.0, metavar="SHARE", help="as in svlm data build (default: 0)"
    )
    parser.set_defaults(run=run_from_bag)


def run_from_bag(options: argparse.Namespace) -> int:
    """Convert bags and build samples."""
    settings = _cut_settings(options)
    pairs, problems = [], Problems()
    for bag in options.bags:
        with tqdm(unit="frame", desc=bag.name, file=sys.stderr) as bar:
            recording = from_bag(
                bag, options.image_topic, options.text_topic, options.out / "recordings", bar.update
            )
        problems.merge(recording.problems)
        pairs.append(Pair(recording.video, recording.transcript))
    _build(pairs, problems, options.out, settings, options.held_out, 1)
    return 0
