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

"""The pairwise judge and its win rates, against planted preferences and by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

from chat_server import chat_server
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from planted_judges import Preference
import pytest
from svlm_core.chat.client import ChatClient
from svlm_core.chat.endpoint import Endpoint
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.evaluation.judging.pairwise import Comparison, judge_pair, messages, read_vote, Votes
from svlm_core.evaluation.judging.win_rate import mean_with_interval

SEGMENTS, VIDEOS = 240, 12


def comparisons() -> list[Comparison]:
    return [
        Comparison(f"reference {n}", f"<ours> segment {n}", f"<theirs> segment {n}") for n in range(SEGMENTS)
    ]


def swapped(comparison: Comparison) -> Comparison:
    return Comparison(comparison.reference, comparison.theirs, comparison.ours)


def scores(url: str, folder: Path, pairs: list[Comparison]) -> list[float]:
    client = ChatClient(Endpoint(url, "judge", requests_per_s=0), ReplyCache(folder))
    return [judge_pair(pair, client.ask).score for pair in pairs]


@pytest.mark.parametrize(("share", "seed"), [(0.66, 1), (0.5, 2), (0.9, 3)])
def test_a_planted_preference_is_recovered(share: float, seed: int, tmp_path: Path) -> None:
    videos = [n % VIDEOS for n in range(SEGMENTS)]
    with chat_server(Preference("<ours>", share, seed, ties=0.2)) as server:
        ours = scores(server.url, tmp_path, comparisons())
        theirs = scores(server.url, tmp_path, [swapped(pair) for pair in comparisons()])
    rate = mean_with_interval(ours, videos, seed=0)
    planted = 0.2 * 0.5 + 0.8 * share
    assert rate["low"] <= planted <= rate["high"]
    assert rate["high"] - rate["low"] < 0.2
    assert theirs == [1 - score for score in ours], "swapping the sides changes nothing"


def test_a_judge_that_always_says_a_gives_one_half(tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as server:
        found = scores(server.url, tmp_path, comparisons()[:30])
    assert mean_with_interval(found, range(30), 0) == {
        "mean": 0.5,
        "low": 0.5,
        "high": 0.5,
        "n": 30,
        "resampled": "videos",
    }


def test_both_sides_are_shown_alike() -> None:
    pair = Comparison("what the human said", "one", "two", "said before", "Cup final")
    (system, one), (_, two) = messages(pair, "one", "two"), messages(pair, "two", "one")
    assert one["content"].replace("one", "X").replace("two", "one").replace("X", "two") == two["content"]
    assert one["content"].count("said before") == 1
    assert "A, B, or TIE" in system["content"]


@pytest.mark.parametrize(
    ("reply", "vote"),
    [
        ("A", "A"),
        ("b.", "B"),
        ("**TIE**", "tie"),
        ("Answer: B", "B"),
        ("The winner is A, because", "A"),
        ("Commentary B is better", "B"),
        ("(A)", "A"),
    ],
)
def test_votes_are_read(reply: str, vote: str) -> None:
    assert read_vote(reply) == vote


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I'm sorry, I cannot judge that", "refused"),
        ("Both are fine", "nonsense"),
        ("", "nonsense"),
        ("A and B are equal", "nonsense"),
        ("42", "nonsense"),
        ("Apples", "nonsense"),
    ],
)
def test_no_vote_is_guessed(reply: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        read_vote(reply)


@pytest.mark.parametrize(
    ("first", "second", "score", "agrees"),
    [
        ("A", "B", 1.0, True),
        ("B", "A", 0.0, True),
        ("A", "A", 0.5, False),
        ("B", "B", 0.5, False),
        ("tie", "tie", 0.5, True),
        ("A", "tie", 0.75, False),
        ("tie", "A", 0.25, False),
    ],
)
def test_the_table_of_votes(first: str, second: str, score: float, agrees: bool) -> None:
    votes = Votes(first, second)
    assert (votes.score, votes.agrees) == (score, agrees)


def test_the_interval_is_that_of_a_plain_bootstrap_over_videos() -> None:
    random = np.random.default_rng(5)
    videos = [n // 10 for n in range(100)]
    values = [float(random.random() < 0.3 + 0.05 * video) for video in videos]
    found = mean_with_interval(values, videos, seed=0)
    means = []
    for _ in range(4000):  # the textbook's way, one resample at a time
        drawn = random.integers(0, 10, 10)
        means.append(np.mean([values[10 * video + k] for video in drawn for k in range(10)]))
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["low"] == pytest.approx(np.percentile(means, 2.5), abs=0.02)
    assert found["high"] == pytest.approx(np.percentile(means, 97.5), abs=0.02)


def test_the_interval_is_that_of_all_resamples_there_are() -> None:
    clusters = {"a": [1.0, 1.0, 0.0], "b": [0.0], "c": [1.0, 0.0]}
    values = [value for held in clusters.values() for value in held]
    videos = [name for name, held in clusters.items() for _ in held]
    means = [
        np.mean([value for name in drawn for value in clusters[name]])
        for drawn in itertools.product(clusters, repeat=3)  # 27, all alike
    ]
    found = mean_with_interval(values, videos, seed=0)
    assert found["mean"] == pytest.approx(3 / 6)
    # the tails of 2.5 % lie inside the outermost of 27 equal steps
    assert (found["low"], found["high"]) == pytest.approx((min(means), max(means)), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 4)), max_size=40))
def test_intervals_hold_the_mean(items: list[tuple[float, int]]) -> None:
    found = mean_with_interval([value for value, _ in items], [video for _, video in items], 0)
    assert found["n"] == len(items)
    if found["low"] is not None:
        assert 0 <= found["low"] <= found["mean"] + 1e-6 and found["mean"] <= found["high"] + 1e-6 <= 1 + 2e-6
