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

"""The page: whole, closed to the outside, and safe whatever the model said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from html_page import Page
import pytest
from svlm_core.config import StreamConfig
from svlm_core.evaluation.recording import Evaluation, judged_figures, Moment
from svlm_core.evaluation.report import MAX_PICTURES, render_report
from svlm_core.evaluation.runs.outcome import result_of
from svlm_core.evaluation.truth import Heard, judge, Truth

S = 10**9
EVIL = "<script>alert('1')</script> & \"quoted\""


def evaluation(
    words: list[str], truths: list[Truth], origin_ns: int = 0, camera: str = "/front", stopped: str = ""
) -> Evaluation:
    moments = [
        Moment(Heard(origin_ns + k * S, origin_ns + (k + 1) * S, text), 5.0 + k % 7, b"\xff\xd8jpeg")
        for k, text in enumerate(words)
    ]
    verdicts, unseen = judge(truths, [moment.heard for moment in moments])
    heard = [moment.heard for moment in moments]
    figures: dict[str, Any] = {
        **(judged_figures(truths, heard, verdicts, origin_ns) if truths else {}),
        **{"chunks": len(words), "silent_chunks": 1, "events": 3, "frames_received": 10, "frames_used": 8},
        **{"frames_dropped": {"rate": 2}, "cache_tokens_max": 40, "capacity_tokens": 50},
    }
    run = {
        **{
            "benchmark": "bag",
            "recording": "drive",
            "model": "tiny",
            "camera": camera,
            "start_ns": origin_ns,
        },
        **{"length_s": float(len(words)), "policy": "streaming", "settings": StreamConfig().__dict__},
    }
    accounting = {"items": len(words), "counted": len(words) - unseen, "excluded": unseen}
    accounting |= {"by_reason": {"unseen": unseen} if unseen else {}, "list": []}
    result = result_of(run, figures, accounting, {"/front": stopped} if stopped else {})
    timing = {
        "chunk_ms_p50": 7.0,
        "chunk_ms_p99": 11.0,
        "stage_ms_p50": {"vision": 3.0},
        "machine": "a test",
        "chunk_ms": [moment.chunk_ms for moment in moments],
    }
    return Evaluation(origin_ns, moments, verdicts, result, timing, None)


def test_the_page_is_whole_and_every_link_leads_somewhere() -> None:
    truths = [Truth(0, S, ""), Truth(S, 2 * S, "cat"), Truth(2 * S, 3 * S, "dog"), Truth(3 * S, 4 * S, "")]
    text = render_report(evaluation(["", "cat", "", "fox", "eel"], truths))
    page = Page(text)
    assert page.count["svg"] == 8, (
        "timeline, latency, accuracy over time and its legend of 3, quarters, delays"
    )
    assert page.count["img"] == 4
    assert page.targets <= page.ids and len(page.targets) == 4
    for words in ("50.0 %", "of events right: 1 of 2", "right 1", "wrong 1", "missed 1", "not judged 1"):
        assert words in page.words
    assert "true: dog" in page.words and "nothing was to be said" in page.words
    assert "default-src 'none'" in text
    for loads in ("http:", "https:", "@import", "url(", "$"):
        assert loads not in text


def test_without_a_truth_it_says_so() -> None:
    page = Page(render_report(evaluation(["", "cat"], [])))
    assert "no truth was given" in page.words
    assert "%" not in page.words.split("Settings")[0].split("Timeline")[1]


@pytest.mark.parametrize("length", [1, 9, 700])
def test_any_length_is_drawn(length: int) -> None:
    truths = [Truth(k * S, (k + 1) * S, "cat" if k % 2 else "") for k in range(length)]
    page = Page(render_report(evaluation(["cat"] * length, truths)))
    assert page.count["img"] == min(length, MAX_PICTURES)
    wrong = sum(k % 2 == 0 for k in range(length))
    assert f"wrong {wrong}" in page.words


def test_a_clock_that_jumps_by_years_does_not_make_the_page_endless() -> None:
    whole = evaluation(["cat", "dog", "eel"], [])
    late = Moment(Heard(10**18, 10**18 + S, "eel"), 5.0, b"jpeg")
    text = render_report(replace(whole, moments=[*whole.moments[:2], late]))
    assert len(text) < 100_000
    assert Page(text).count["img"] == 3


def test_what_was_said_cannot_leave_its_place() -> None:
    page = Page(render_report(evaluation([EVIL, ""], [Truth(0, S, EVIL)], camera=EVIL, stopped=EVIL)))
    assert page.count["script"] == 1
    assert page.words.count(EVIL) >= 4


def test_dates_are_told_only_of_stamps_that_are_dates() -> None:
    dated = render_report(evaluation(["cat"], [], origin_ns=1_700_000_000 * S))
    assert "recorded from 2023-11-14 22:13:20 UTC" in dated
    assert "recorded from" not in render_report(evaluation(["cat"], [], origin_ns=5 * S))


def test_equal_evaluations_give_equal_pages() -> None:
    truths = [Truth(0, S, "cat")]
    assert render_report(evaluation(["cat"], truths)) == render_report(evaluation(["cat"], truths))
