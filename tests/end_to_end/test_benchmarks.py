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

"""`svlm eval` benchmarks as their users run them: real videos, the embedded model, a real HTTP judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
from pathlib import Path
import random
import shutil
from typing import Any

from benchmark_rig import inf_streams, LENGTH_S, ovo_question, result, SEGMENT_S, VIDEOS, write_videos
from chat_server import chat_server, completion
from planted_judges import Preference, Taste
import pytest
from silent_progress import Silent
from svlm_core.cli.main import main
from svlm_core.evaluation.benchmarks.pair_run import figures

INTERRUPTIONS = 10

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_videos(folder)
    return folder


@pytest.fixture
def svlm(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str]:
        code = main(["eval", *map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture(scope="module")
def first_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One whole run of the embedded model against itself without memory."""
    out = tmp_path_factory.mktemp("first") / "run"
    with chat_server(Taste(seed=4)) as server:
        words = inf_streams(data, out, server.url, "--baseline", "policy:last-frames")
        assert main(["eval", *map(str, words)]) == 0
        assert len({json.dumps(body) for body in server.bodies}) == len(server.bodies), (
            "nothing is asked twice"
        )
    yield out


def test_inf_streams_compares_two_policies_of_the_engine(first_run: Path) -> None:
    found = result(first_run)
    segments = len(VIDEOS) * LENGTH_S // SEGMENT_S
    assert found["accounting"]["counted"] == segments
    assert found["run"]["previous"] == "none" and found["run"]["theirs"] == "tiny, policy last-frames"
    rate = found["figures"]["win_rate"]
    assert 0 <= rate["low"] <= rate["mean"] <= rate["high"] <= 1 and rate["n"] == segments
    assert found["figures"]["wins"] and found["figures"]["losses"], "it decides, so that a mix-up would show"
    assert found["figures"]["orders_agree"] == 1
    assert sum(part["n"] for part in found["figures"]["win_rate_by_fifth"]) == segments
    assert len(found["run"]["data_sha256"]) == 64 and found["versions"]["torch"]
    page = (first_run / "report.html").read_text()
    assert "data:image/jpeg;base64," in page and "previous: none" in page
    assert "http://" not in page.replace(found["run"]["judge"], ""), "the page loads nothing"


def test_a_segment_belongs_to_the_fifth_of_its_middle(first_run: Path) -> None:
    records = [json.loads(line) for line in (first_run / "judged-1-of-1.jsonl").read_text().splitlines()]
    fifths = {(record["start_s"], record["end_s"]): record["fifth"] for record in records}
    assert fifths == {(0, 6): 1, (6, 12): 2, (12, 18): 4, (18, 24): 5}, "3, 9, 15 and 21 of 24 s"
    by_fifth = result(first_run)["figures"]["win_rate_by_fifth"]
    for fifth in range(1, 6):
        scores = [record["score"] for record in records if record["fifth"] == fifth]
        mean = sum(scores) / len(scores) if scores else None
        assert by_fifth[fifth - 1]["mean"] == pytest.approx(mean, abs=1e-6)


def test_swapping_the_sides_mirrors_the_rate(first_run: Path, data: Path, svlm: Run, tmp_path: Path) -> None:
    for stage in ("ours", "theirs"):
        lines = (first_run / f"{stage}-1-of-1.jsonl").read_text().splitlines()
        (tmp_path / f"{stage}.jsonl").write_text(
            "\n".join(json.dumps(json.loads(line)["said"]) for line in lines)
        )
    rates = []
    with chat_server(Taste(seed=4)) as server:
        for ours, theirs in (("ours", "theirs"), ("theirs", "ours")):
            files = ("--predictions", tmp_path / f"{ours}.jsonl", "--baseline", tmp_path / f"{theirs}.jsonl")
            code, said = svlm(*inf_streams(data, tmp_path / ours, server.url, *files))
            assert code == 0, said
            rates.append(result(tmp_path / ours)["figures"]["win_rate"]["mean"])
    assert rates[0] == result(first_run)["figures"]["win_rate"]["mean"]
    assert rates[0] + rates[1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda body: "what a game", "judge: nonsense reply"),
        (lambda body: (200, completion(None, refusal="no")), "judge: refused"),
        (lambda body: None, "judge: timed out"),
    ],
)
def test_a_judge_that_does_not_judge_is_in_no_rate(
    reply: Any, reason: str, first_run: Path, data: Path, svlm: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(
        first_run, out, ignore=shutil.ignore_patterns("judged-*", "replies", "run.json", "result.json")
    )
    with chat_server(reply) as server:
        words = inf_streams(data, out, server.url, "--baseline", "policy:last-frames")
        code, said = svlm(*words)
        assert code == 1 and reason in said
        found = result(out)
        assert found["figures"]["win_rate"]["mean"] is None
        assert list(found["accounting"]["by_reason"]) == [reason]
        server.reply = lambda body: "A"
        code, _ = svlm(*words)
        assert code == 1, "an exclusion stays until it is to be tried again"
        code, said = svlm(*words, "--retry-excluded")
        assert code == 0, said
        assert result(out)["figures"]["win_rate"]["mean"] == 0.5, "always A is one half"


def test_missing_videos_and_uncovered_segments(data: Path, svlm: Run, tmp_path: Path) -> None:
    said = {"video": "a.mp4", "chunk_start": 0, "chunk_end": 12, "previous": "none", "items": []}
    (tmp_path / "short.jsonl").write_text(json.dumps(said))
    files = ("--predictions", tmp_path / "short.jsonl", "--baseline", tmp_path / "short.jsonl")
    with chat_server(lambda body: "A") as server:
        code, text = svlm(*inf_streams(data, tmp_path / "run", server.url, *files))
        assert code == 1 and "do not cover" in text and "--max-excluded" in text
        assert result(tmp_path / "run")["accounting"]["counted"] == 2
        code, _ = svlm(*inf_streams(data, tmp_path / "run", server.url, *files, "--max-excluded", 0.9))
        assert code == 0
        gone = ("--videos", tmp_path, "--baseline", "policy:window")
        code, text = svlm(*inf_streams(data, tmp_path / "gone", server.url, *gone))
        assert code == 1 and "missing video" in text


def test_sides_that_were_told_different_things_are_not_compared(
    first_run: Path, data: Path, svlm: Run, tmp_path: Path
) -> None:
    published = {
        "video": "a.mp4",
        "chunk_start": 0,
        "chunk_end": 24,
        "items": [{"end_time": 3, "response": "x"}],
    }
    (tmp_path / "p.jsonl").write_text(json.dumps(published))
    files = ("--predictions", tmp_path / "p.jsonl", "--baseline", tmp_path / "p.jsonl")
    with chat_server(lambda body: "A") as server:
        code, text = svlm(*inf_streams(data, tmp_path / "run", server.url, *files))
        assert code == 1 and "--previous-of-files" in text
        code, text = svlm(
            *inf_streams(data, tmp_path / "run2", server.url, *files, "--previous-of-files", "truth")
        )
        assert code == 1 and "would not be equal" in text


@pytest.mark.parametrize("previous", ["truth", "generated"])
def test_both_sides_begin_with_the_same_words(previous: str, data: Path, svlm: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    more = ("--baseline", "policy:window", "--previous", previous, "--start-s", 12)
    with chat_server(lambda body: "TIE") as server:
        code, text = svlm(*inf_streams(data, out, server.url, *more))
    assert code == 0, text
    told = {}
    for stage in ("ours", "theirs"):
        lines = map(json.loads, (out / f"{stage}-1-of-1.jsonl").read_text().splitlines())
        told[stage] = {line["id"]: line["previous_text"] for line in lines}
    assert told["ours"] == told["theirs"] and all(told["ours"].values())
    assert result(out)["run"]["previous"] == previous


def test_a_captioner_behind_an_endpoint_is_a_baseline(data: Path, svlm: Run, tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        return "Something moves. It stops." if body["model"] == "captioner" else "B"

    with chat_server(reply) as server:
        more = (
            "--baseline",
            "captioner",
            "--captioner-model",
            "captioner",
            "--caption-s",
            6,
            "--caption-frames",
            3,
        )
        code, text = svlm(*inf_streams(data, tmp_path / "run", server.url, *more))
        assert code == 0, text
        captions = [body for body in server.bodies if body["model"] == "captioner"]
        assert len(captions) == len(VIDEOS) * LENGTH_S // 6
        pictures = [part for part in captions[0]["messages"][1]["content"] if part["type"] == "image_url"]
        assert len(pictures) == 3
    assert result(tmp_path / "run")["figures"]["win_rate"]["mean"] == 0.5


def test_the_cost_is_shown_and_nothing_is_asked_without_yes(data: Path, svlm: Run, tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as server:
        words = [
            w
            for w in inf_streams(data, tmp_path / "run", server.url, "--baseline", "policy:window")
            if w != "--yes"
        ]
        code, text = svlm(*words, "--price-in", 2, "--price-out", 8)
        assert code == 1 and "24 requests" in text and "in money" in text and "--yes" in text
        assert not server.bodies


def test_shards_give_the_same_figures(first_run: Path, data: Path, svlm: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with chat_server(Taste(seed=4)) as server:
        words = inf_streams(data, out, server.url, "--baseline", "policy:last-frames")
        for number in (2, 3, 1):
            code, text = svlm(*words, "--shard", f"{number}/3")
            assert code == 0, text
            assert (out / "result.json").exists() == (number == 1)
    sharded, whole = result(out), result(first_run)
    for found in (sharded, whole):
        found["run"].pop("judge")  # the stand-in's port
    assert sharded == whole


def test_interrupted_at_random_and_resumed_the_result_is_the_same(
    first_run: Path, data: Path, tmp_path: Path
) -> None:
    out, chance = tmp_path / "run", random.Random(7)
    expected = result(first_run)
    with chat_server(Taste(seed=4)) as server:
        words = inf_streams(data, out, server.url, "--baseline", "policy:last-frames")
        interrupted = 0
        while interrupted < INTERRUPTIONS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("svlm_core.cli.pairs.tqdm", lambda **_: _Interrupting(chance.randint(1, 2)))
                code = main(["eval", *map(str, words)])
            if code == 0:
                break
            assert code == 130
            interrupted += 1
            (torn,) = out.glob("judged-*.jsonl")
            with torn.open("ab") as file:
                file.write(b'{"id": "torn')  # as a power cut leaves it
        assert main(["eval", *map(str, words)]) == 0
    found = result(out)
    found["run"].pop("judge"), expected["run"].pop("judge")
    assert found == expected
    assert interrupted >= 5


class _Interrupting(Silent):
    """A progress bar at which Ctrl-C is pressed after so many new segments."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def __enter__(self) -> _Interrupting:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        if n == 1:  # one segment judged; what was done before comes in larger steps or as 0
            self._left -= 1
            if not self._left:
                raise KeyboardInterrupt


def test_compare_puts_runs_side_by_side(first_run: Path, svlm: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    found = result(first_run)
    high = found["figures"]["win_rate"]["high"]
    found["figures"]["win_rate"] |= {"mean": high + 0.02, "low": high + 0.01, "high": high + 0.03}
    found["run"]["settings"]["fps"] = 8.0
    (other / "result.json").write_text(json.dumps(found))
    code, text = svlm("compare", first_run, other, "--html", tmp_path / "page.html")
    assert code == 0
    (line,) = [line for line in text.splitlines() if line.startswith("Figures: win rate ")]
    assert line.endswith("*"), "the intervals do not touch"
    assert "differs: run.settings.fps: 2.0 | 8.0" in text
    assert "two runs" in (tmp_path / "page.html").read_text()
    found["benchmark"] = "ovo"
    (other / "result.json").write_text(json.dumps(found))
    code, text = svlm("compare", first_run, other)
    assert code == 1 and "cannot be compared" in text


def test_ovo_through_both_paths(data: Path, svlm: Run, tmp_path: Path) -> None:
    count = {
        "id": 90,
        "task": "REC",
        "video": "a.mp4",
        "activity": "moving",
        "test_info": [{"realtime": 9, "count": 1}],
    }
    late = ovo_question("a.mp4", 9000, 91)
    items = [
        *(ovo_question(VIDEOS[n % 2], 3 + 2 * n, n) for n in range(8)),
        count,
        late,
        ovo_question("gone.mp4", 3, 92),
    ]
    (tmp_path / "ovo.json").write_text(json.dumps(items))
    common = ("ovo", tmp_path / "ovo.json", "--videos", data, "--max-excluded", 0.2)
    for path, more in (("streaming", ()), ("offline", ("--offline-path", "--offline-frames", 6))):
        out = tmp_path / path
        code, text = svlm(*common, "--out", out, *more)
        assert code == 0, text
        found = result(out)
        assert found["run"]["path"] == path
        assert found["accounting"]["by_reason"] == {
            "missing video": 1,
            "outside the video; mixed time units?": 1,
        }
        assert found["figures"]["with_forward"] is not None
        assert found["figures"]["unreadable"] <= 9
        assert f"path: {path}" in (out / "report.html").read_text()
    code, text = svlm(*common, "--out", tmp_path / "streaming", "--offline-path")
    assert code == 1 and "holds another run" in text, "the two are never mixed"
    (tmp_path / "streaming" / "result.json").unlink()
    records = next((tmp_path / "streaming").glob("answers-*"))
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:4]) + lines[4][:20])
    code, text = svlm(*common, "--out", tmp_path / "streaming")
    assert code == 0, text
    again = sorted(records.read_text().splitlines())
    assert [_clockless(line) for line in again] == [
        _clockless(line) for line in sorted(map(str.strip, lines))
    ]


def _clockless(line: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if name != "clock"}


def test_streamingbench_and_livesports_qa(data: Path, svlm: Run, tmp_path: Path) -> None:
    real = {"task_type": "Counting", "question": "What?", "time_stamp": "00:00:09", "answer": "A"}
    real["options"] = ["A. new", "B. back", "C. gone", "D. stops"]
    proactive = {"task_type": "Proactive Output", "question": "Say new.", "time_stamp": "00:00:05"}
    proactive |= {"ground_truth_time_stamp": "00:00:08", "ground_truth_output": "new"}
    items = [{"video_path": "./videos/a.mp4", "questions": [question]} for question in (real, proactive)]
    (tmp_path / "sb.json").write_text(json.dumps(items))
    code, text = svlm("streamingbench", tmp_path / "sb.json", "--videos", data, "--out", tmp_path / "sb")
    assert code == 0, text
    found = result(tmp_path / "sb")
    assert set(found["figures"]["by_task"]) == {"Counting", "Proactive Output"}
    assert found["figures"]["proactive_moment"]["n"] == 1
    qa = {"video": "b.mp4", "begin": 2.5, "end": 9.0, "q_type": "What", "question": "What?", "answer": "B"}
    (tmp_path / "qa.json").write_text(json.dumps([{**qa, "options": real["options"]}]))
    code, text = svlm("livesports-qa", tmp_path / "qa.json", "--videos", data, "--out", tmp_path / "qa")
    assert code == 0, text
    assert result(tmp_path / "qa")["figures"]["by_task"]["What"]["n"] == 1


def test_livesports_cc_with_published_captions(data: Path, svlm: Run, tmp_path: Path) -> None:
    event = {"video_id": "a", "video": "a.mp4", "event_id": 3, "begin": 2.0, "end": 12.0, "event_title": "t"}
    event |= {"preasr_text": "before", "event_asr_text": "new red"}
    (tmp_path / "cc.json").write_text(json.dumps([event]))
    caption = {"video_id": "a", "event_id": 3, "begin": 2.0, "end": 12.0, "pred": "Alright!"}
    (tmp_path / "gpt.jsonl").write_text(json.dumps(caption))
    with chat_server(Preference("Alright!", 1.0, seed=0)) as server:
        judge = ("--judge-url", server.url, "--judge-model", "stand-in", "--yes")
        sides = ("--baseline", tmp_path / "gpt.jsonl", "--previous", "truth", "--previous-of-files", "truth")
        words = (
            "livesports",
            tmp_path / "cc.json",
            "--videos",
            data,
            "--out",
            tmp_path / "cc",
            *judge,
            *sides,
        )
        code, text = svlm(*words)
        assert code == 0, text
        assert "before" in server.bodies[0]["messages"][1]["content"]
    assert result(tmp_path / "cc")["figures"]["losses"] == 1


def test_figures_by_hand() -> None:
    def record(video: str, fifth: int, score: float, votes: str) -> dict[str, Any]:
        agrees = score in (0, 1) or votes == "tt"
        names = {"t": "tie", "A": "A", "B": "B"}
        common = {"id": f"{video}{fifth}", "video": video, "fifth": fifth, "score": score, "agrees": agrees}
        return {**common, "votes": [names[vote] for vote in votes]}

    records = [record("a", 1, 1.0, "AB"), record("a", 5, 0.5, "AA"), record("b", 1, 0.25, "tA")]
    records.append({"id": "x", "excluded": "missing video"})
    found = figures(records, 0, by_fifth=True)
    assert found["win_rate"]["mean"] == pytest.approx(1.75 / 3, abs=1e-6)
    assert (found["wins"], found["ties"], found["losses"]) == (1, 1, 1)
    assert found["orders_agree"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["first_share"] == pytest.approx(4 / 5)
    assert [part["mean"] for part in found["win_rate_by_fifth"]] == [0.625, None, None, None, 0.5]
