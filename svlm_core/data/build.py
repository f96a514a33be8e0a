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

"""From videos and transcripts to samples on disk: in parallel, resumable, with a report.

Layout of the output folder: `parts/` holds one file of samples and one report for each video, named by what
they were made of, so that what is done is not done again; `train_with_seeks.jsonl` and
`valid_with_seeks.jsonl`, each with its index; `report.json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
import hashlib
import json
import multiprocessing
import os
from pathlib import Path
import signal
from typing import Any

from svlm_core.data.cut import cut, CutSettings
from svlm_core.data.figures import Statistics
from svlm_core.data.probe import probe
from svlm_core.data.problems import Problems
from svlm_core.data.sample import Sample
from svlm_core.data.seek_index import samples_path, SampleWriter
from svlm_core.data.split import is_held_out
from svlm_core.data.transcript import read_transcript
from svlm_core.data.words import in_order
from svlm_core.errors import ConfigError, SourceError

REPORT = "report.json"
TRAIN, VALID = "train", "valid"
NO_TRANSCRIPT = "a video without a transcript"
NO_VIDEO = "a transcript without a video"
BAD_VIDEO = "a video that cannot be read"
CUT_OFF = "a video that ends too soon, used up to there"
BAD_TRANSCRIPT = "a transcript that cannot be read"
_VERSION = 1  # of the parts: raised when the same inputs give other samples


@dataclass(frozen=True)
class Pair:
    """A video and what was said over it."""

    video: Path
    transcript: Path


@dataclass
class Part:
    """What became of one video.

    Attributes:
        video: as the samples name it.
        samples: how many.
        problems: of its files and its words.
        rejected: stretches that became no sample, by reason.
    """

    video: str
    samples: int = 0
    problems: Problems = field(default_factory=Problems)
    rejected: Counter[str] = field(default_factory=Counter)


def pair_up(videos: Sequence[Path], transcripts: Sequence[Path]) -> tuple[list[Pair], Problems]:
    """Videos and transcripts of one stem belong together: match.mp4 and match.srt, or match.en.srt.

    Raises:
        ConfigError: two transcripts fit one video equally, or two videos have one stem.
    """
    by_stem: dict[str, Path] = {}
    for transcript in transcripts:
        other = by_stem.setdefault(transcript.stem, transcript)
        if other != transcript:
            raise ConfigError(f"{other} and {transcript}: two transcripts of one name; give one of them")
    problems, pairs, used = Problems(), [], set()
    seen: dict[str, Path] = {}
    for video in videos:
        if seen.setdefault(video.stem, video) != video:
            raise ConfigError(f"{seen[video.stem]} and {video}: two videos of one name; rename one of them")
        names = [video.stem, *sorted(stem for stem in by_stem if Path(stem).stem == video.stem)]
        found = next((by_stem[name] for name in names if name in by_stem), None)
        if found is None:
            problems.add(NO_TRANSCRIPT, str(video))
            continue
        pairs.append(Pair(video, found))
        used.add(found)
    for transcript in transcripts:
        if transcript not in used:
            problems.add(NO_VIDEO, str(transcript))
    return pairs, problems


def build(
    pairs: Sequence[Pair],
    problems: Problems,
    out: Path,
    settings: CutSettings,
    held_out: float,
    processes: int,
    progress: Callable[[int], object],
) -> dict[str, Any]:
    """Make the samples of all pairs.

    Args:
        pairs: of pair_up.
        problems: of pair_up; those met here are added.
        out: folder; made if it is not there.
        settings: how to cut.
        held_out: share of the videos whose samples go to the validation set.
        processes: how many work at once.
        progress: called with the number of videos done.

    Returns:
        The report, which is also written to `out`.

    Raises:
        ConfigError: the folder cannot be written, or not one sample came of it.
    """
    if not 0 <= held_out < 1:
        raise ConfigError(f"the held-out share must be at least 0 and below 1, got {held_out}")
    folder = out / "parts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be made ({error.strerror})") from error
    done: dict[Pair, Path] = {}
    rejected: Counter[str] = Counter()
    for pair, report in _in_parallel(pairs, folder, settings, processes):
        part = _read_part(report)
        done[pair] = report.with_suffix(".jsonl")
        problems.merge(part.problems)
        rejected += part.rejected
        progress(1)
    statistics = {}
    for name, wanted in ((TRAIN, False), (VALID, True)):
        figures = Statistics()
        with SampleWriter(samples_path(out, name)) as writer:
            for pair in pairs:  # in the order given, whichever was done first
                if is_held_out(pair.video.name, held_out) == wanted:
                    for line in _lines(done[pair]):
                        writer.write_line(line)
                        figures.add(Sample.from_line(line, str(done[pair])))
        statistics[name] = figures.as_json()
    report_json = {
        "settings": {**asdict(settings), "held_out": held_out},
        "videos": len(pairs),
        **statistics,
        "rejected": dict(rejected),
        "problems": problems.as_json(),
    }
    (out / REPORT).write_text(json.dumps(report_json, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not any(figures["samples"] for figures in statistics.values()):
        raise ConfigError(f"not one sample came of it; {out / REPORT} says why")
    return report_json


def make_part(pair: Pair, folder: Path, settings: CutSettings) -> Path:
    """The samples of one pair; returns its report, beside which they stand. Does nothing when they are there.

    Problems with either file are in the report: nothing is raised for them.
    """
    report = _report_path(pair, folder, settings)
    if report.exists():
        return report
    part = Part(_name(pair, folder))
    try:
        lines = [sample.to_line() for sample in _samples(pair, part, settings)]
    except SourceError as error:
        kind = BAD_TRANSCRIPT if str(error).startswith(str(pair.transcript)) else BAD_VIDEO
        part.problems.add(kind, str(error))
        lines = []
    part.samples = len(lines)
    _write(report.with_suffix(".jsonl"), "".join(f"{line}\n" for line in lines))
    summary = {**asdict(part), "problems": part.problems.as_json(), "rejected": dict(part.rejected)}
    _write(report, json.dumps(summary, ensure_ascii=False))  # last: it says that the part is whole
    return report


def _samples(pair: Pair, part: Part, settings: CutSettings) -> Iterator[Sample]:
    transcript = read_transcript(pair.transcript)
    part.problems.merge(transcript.problems)
    seen = probe(pair.video)
    if seen.damage:
        part.problems.add(CUT_OFF, f"{pair.video}: after {seen.length_s:.1f} s: {seen.damage}")
    words, odd = in_order(transcript.words, seen.length_s)
    for kind, times in odd.items():
        part.problems.add(kind, str(pair.transcript), times)
    return cut(part.video, words, seen.length_s, settings, part.rejected)


def _in_parallel(
    pairs: Sequence[Pair], folder: Path, settings: CutSettings, processes: int
) -> Iterator[tuple[Pair, Path]]:
    reports = {pair: _report_path(pair, folder, settings) for pair in pairs}
    todo = []
    for pair, report in reports.items():
        if report.exists():
            yield pair, report
        else:
            todo.append(pair)
    if processes <= 1 or len(todo) <= 1:
        yield from ((pair, make_part(pair, folder, settings)) for pair in todo)
        return
    context = multiprocessing.get_context("spawn")  # threads of video libraries do not survive a fork
    pool = ProcessPoolExecutor(min(processes, len(todo)), context, _leave_interrupts_to_the_parent)
    try:
        futures = {pool.submit(make_part, pair, folder, settings): pair for pair in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _name(pair: Pair, folder: Path) -> str:
    """The video as the samples name it: relative to where they will stand."""
    return os.path.relpath(pair.video, folder.parent)


def _report_path(pair: Pair, folder: Path, settings: CutSettings) -> Path:
    """Named by all that decides the samples: of the files, which may be large, size and time of change."""
    given = [_VERSION, _name(pair, folder), asdict(settings)]
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode())
    for path in (pair.video, pair.transcript):
        if path.is_file():
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
    return folder / f"{pair.video.stem}-{digest.hexdigest()[:16]}.json"


def _read_part(report: Path) -> Part:
    data = json.loads(report.read_text(encoding="utf-8"))
    problems = Problems.from_json(data["problems"])
    return Part(data["video"], data["samples"], problems, Counter(data["rejected"]))


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
