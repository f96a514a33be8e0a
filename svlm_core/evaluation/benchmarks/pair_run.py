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

"""Two sides comment on the same stretches, and a judge compares them segment by segment.

Both sides are told the same of what was said before a stretch begins: nothing, what one model generated, or
what the human said. Which of these it is stands in the records and in the report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svlm_core.chat.reply import NoReplyError, TIMED_OUT
from svlm_core.errors import ConfigError, EndpointError, SvlmError
from svlm_core.evaluation.benchmarks.narration import from_json, Narration, Side, to_json
from svlm_core.evaluation.benchmarks.pictures import Peeking
from svlm_core.evaluation.benchmarks.predictions import FileSide
from svlm_core.evaluation.benchmarks.question_run import CLOCK
from svlm_core.evaluation.benchmarks.segment import Segment, Stretch
from svlm_core.evaluation.judging.pairwise import Ask, Comparison, judge_pair, TIE, Votes
from svlm_core.evaluation.judging.win_rate import mean_with_interval
from svlm_core.evaluation.recording import Progress
from svlm_core.evaluation.runs.exclusions import (
    BROKEN_VIDEO,
    Excluded,
    MISSING_VIDEO,
    NOT_COVERED,
)
from svlm_core.evaluation.runs.records import EXCLUDED, Record, Records, Shard
from svlm_core.sources.clip import Clip
from svlm_core.sources.open import open_source
from svlm_core.sources.source import Source

NONE, GENERATED, TRUTH = "none", "generated", "truth"
PREVIOUS = (NONE, GENERATED, TRUTH)
PREVIOUS_WORDS = 300  # of the previous text, the last ones

OURS, THEIRS, BEFORE, JUDGED = "ours", "theirs", "before", "judged"  # stages of a run

_FIFTHS = 5
_SHOWN_CHARACTERS = 2000  # of a text, in a record


@dataclass(frozen=True)
class PairRun:
    """How two sides are compared.

    Attributes:
        ours: whose win rate is told.
        theirs: the other side.
        previous: one of PREVIOUS.
        ask: asks the judge; None to let the sides speak and judge later.
        workers: comparisons at a time.
        videos: the folder of videos.
        folder: the run's.
        shard: the part of the stretches to do here.
        tolerance_s: what a narration may lack at either end of a segment.
    """

    ours: Side | FileSide
    theirs: Side | FileSide
    previous: str
    ask: Ask | None
    workers: int
    videos: Path
    folder: Path
    shard: Shard
    tolerance_s: float = 1.0

    def records(self, stage: str) -> Records:
        """The records of a stage."""
        return Records(self.folder, stage, self.shard)

    def run(self, stretches: Sequence[Stretch], segments: Sequence[Segment], progress: Progress) -> None:
        """Do what has no record yet.

        Args:
            stretches: with different ids; streams on both sides.
            segments: of these stretches, with different ids.
            progress: shows segments.

        Raises:
            EndpointError: the judge cannot be asked at all.
            ConfigError: the previous text cannot be had, or a record cannot be written.
        """
        by_id = {stretch.id: stretch for stretch in stretches}
        inside = defaultdict(list)
        for segment in segments:
            inside[segment.stretch].append(segment)
        judged, done = self.records(JUDGED), self.records(JUDGED).read()
        spoken = {stage: self.records(stage).read() for stage in (OURS, THEIRS, BEFORE)}
        for key in self.shard.mine(by_id):
            waiting = [segment for segment in inside[key] if segment.id not in done]
            progress.update(len(inside[key]) - len(waiting))
            if not waiting:
                continue
            previous = self._previous(by_id[key], spoken[BEFORE])
            ours = self._narrate(OURS, self.ours, by_id[key], inside[key], previous, spoken[OURS])
            theirs = self._narrate(THEIRS, self.theirs, by_id[key], inside[key], previous, spoken[THEIRS])
            if self.ask is not None:
                self._judge_all(self.ask, by_id[key], waiting, ours, theirs, previous, judged, progress)

    def _previous(self, stretch: Stretch, known: Mapping[str, Record]) -> str:
        """What both sides are told of what was said before."""
        if self.previous == NONE:
            return ""
        if self.previous == TRUTH:
            return _tail(stretch.before)
        if isinstance(self.ours, FileSide):
            raise ConfigError(
                "--previous generated needs a model: predictions from a file begin where they begin"
            )
        earlier = Stretch(stretch.id, stretch.video, 0.0, stretch.start_s)
        record = self._narrate(BEFORE, self.ours, earlier, (), "", known)
        if EXCLUDED in record:
            return ""  # the stretch itself will not fare better, and says why
        return _tail(" ".join(spoken.text for spoken in from_json(record["said"]).spoken))

    def _narrate(
        self,
        stage: str,
        side: Side | FileSide,
        stretch: Stretch,
        segments: Sequence[Segment],
        previous: str,
        known: Mapping[str, Record],
    ) -> Record:
        """The record of what a side said about a stretch, made if there is none."""
        if stretch.id in known:
            return known[stretch.id]
        if isinstance(side, FileSide):
            return side.record(stretch.id, self.previous)
        record = self._said(stage, side, stretch, segments, previous)
        self.records(stage).append(record)
        return record

    def _said(
        self, stage: str, side: Side, stretch: Stretch, segments: Sequence[Segment], previous: str
    ) -> Record:
        path = self.videos / stretch.video
        if not path.exists():
            return Excluded(stretch.id, MISSING_VIDEO, stretch.video).record()
        prompt = (
            f"Comment live on this video: {stretch.title}" if stretch.title else "Comment live on this video."
        )
        try:
            with open_source(str(path)) as whole:
                source: Source = Clip(whole, stretch.start_s, stretch.end_s)
                if stage == OURS:
                    moments = {segment.id: segment.start_s - stretch.start_s for segment in segments}
                    source = Peeking(source, moments, self.folder)
                narration = side.narrate(source, stretch.start_s, prompt, previous, _Quiet())
        except (ConfigError, EndpointError):
            raise  # no other stretch would fare better
        except SvlmError as error:
            return Excluded(stretch.id, BROKEN_VIDEO, str(error)).record()
        return {
            "id": stretch.id,
            "said": to_json(stretch.id, narration, self.previous),
            "previous_text": previous,
            "stopped": narration.stopped,
            CLOCK: {"ms": [round(ms, 3) for ms in narration.chunk_ms]},
        }

    def _judge_all(
        self,
        ask: Ask,
        stretch: Stretch,
        segments: Sequence[Segment],
        ours: Record,
        theirs: Record,
        previous: str,
        judged: Records,
        progress: Progress,
    ) -> None:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="svlm-judge")
        try:
            work = [
                pool.submit(self._judge, ask, stretch, segment, ours, theirs, previous)
                for segment in segments
            ]
            for done in as_completed(work):
                judged.append(done.result())
                progress.update(1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _judge(
        self, ask: Ask, stretch: Stretch, segment: Segment, ours: Record, theirs: Record, previous: str
    ) -> Record:
        texts = []
        for name, record in ((OURS, ours), (THEIRS, theirs)):
            if EXCLUDED in record:
                return Excluded(segment.id, record[EXCLUDED], f"{name}: {record['details']}").record()
            narration = from_json(record["said"])
            if not narration.covers(segment.start_s, segment.end_s, self.tolerance_s):
                details = _coverage(name, narration, record.get("stopped", ""))
                return Excluded(segment.id, NOT_COVERED, details).record()
            texts.append(narration.words(segment.start_s, segment.end_s))
        told = previous if segment.start_s == stretch.start_s else ""  # it is of no help to later segments
        comparison = Comparison(segment.reference, texts[0], texts[1], told, stretch.title)
        try:
            votes = judge_pair(comparison, ask) if any(texts) else Votes(TIE, TIE)  # two silences are alike
        except NoReplyError as error:
            reason, _, details = str(error).partition(": ")
            if reason.startswith(TIMED_OUT):
                reason, details = TIMED_OUT, str(error)
            return Excluded(segment.id, f"judge: {reason}", details).record()
        middle_s = (segment.start_s + segment.end_s) / 2
        share = (middle_s - stretch.start_s) / max(stretch.end_s - stretch.start_s, 1e-9)
        return {
            "id": segment.id,
            "video": stretch.video,
            "start_s": segment.start_s,
            "end_s": segment.end_s,
            "fifth": min(_FIFTHS, max(1, int(share * _FIFTHS) + 1)),
            "score": votes.score,
            "agrees": votes.agrees,
            "votes": [votes.ours_first, votes.ours_second],
            "ours": texts[0][:_SHOWN_CHARACTERS],
            "theirs": texts[1][:_SHOWN_CHARACTERS],
            "reference": segment.reference[:_SHOWN_CHARACTERS],
        }


def figures(records: Sequence[Record], seed: int, by_fifth: bool) -> dict[str, Any]:
    """Win rates.

    Args:
        records: of the stage JUDGED; excluded ones are passed over.
        seed: of the bootstrap.
        by_fifth: also by the fifth of the stream in which a segment lies.

    Returns:
        win_rate (ties count half), wins, ties, losses (segments: both orders together), orders_agree, and
        first_share: of the votes that are no ties, those for what was shown first; 0.5 is impartial.
    """
    judged = [record for record in records if EXCLUDED not in record]
    scores = [record["score"] for record in judged]
    votes = [vote for record in judged for vote in record["votes"] if vote != TIE]
    found: dict[str, Any] = {
        "win_rate": _rate(judged, seed),
        "wins": sum(score > 0.5 for score in scores),
        "ties": sum(score == 0.5 for score in scores),
        "losses": sum(score < 0.5 for score in scores),
        "orders_agree": _share([record["agrees"] for record in judged]),
        "first_share": _share([vote == "A" for vote in votes]),
    }
    if by_fifth:
        parts = ([r for r in judged if r["fifth"] == fifth] for fifth in range(1, _FIFTHS + 1))
        found["win_rate_by_fifth"] = [_rate(part, seed) for part in parts]
    videos = sorted({record["video"] for record in judged})
    found["win_rate_by_video"] = {
        video: _rate([record for record in judged if record["video"] == video], seed) for video in videos
    }
    return found


def _rate(records: Sequence[Record], seed: int) -> dict[str, Any]:
    scores = [record["score"] for record in records]
    return mean_with_interval(scores, [record["video"] for record in records], seed)


def _share(flags: Sequence[bool]) -> float | None:
    return round(sum(flags) / len(flags), 6) if flags else None


def _tail(text: str) -> str:
    return " ".join(text.split()[-PREVIOUS_WORDS:])


def _coverage(name: str, narration: Narration, stopped: str) -> str:
    details = f"{name} covers {narration.start_s:g} to {narration.end_s:g} s"
    return f"{details}; stopped {stopped}" if stopped else details


class _Quiet:
    """Progress that nobody sees: the outer one counts segments."""

    def update(self, n: int = 1) -> None:
        """Say nothing."""
