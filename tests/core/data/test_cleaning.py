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

"""Sentences kept, edited and deleted; samples chosen for the last stage."""

from __future__ import annotations

from collections import Counter
import json
from pathlib import Path
from typing import Any

from chat_server import chat_server, ChatServer
from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.chat.client import ChatClient
from svlm_core.chat.endpoint import Endpoint
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.data.annealing import AnnealSettings, chosen, NOT_LIVE, TOO_SILENT
from svlm_core.data.annealing import UNJUDGED as NOBODY
from svlm_core.data.cleaning import clean, DELETE, EDIT, KEEP, UNJUDGED
from svlm_core.data.sample import Sample
from svlm_core.data.sentences import MAX_WORDS, PAUSE_S, sentences
from svlm_core.data.words import joined, spread, Word
from svlm_core.errors import ConfigError


def asked(server: ChatServer, tmp_path: Path) -> ChatClient:
    endpoint = Endpoint(server.url, "judge", requests_per_s=0, attempts=2)
    return ChatClient(endpoint, ReplyCache(tmp_path / "answers"))


TIMES = st.integers(0, 60_000).map(lambda ms: ms / 1000)
WORDS = st.lists(st.builds(Word, TIMES, TIMES, st.sampled_from(["so", "it", "is.", "he?", '"ha!"'])))


@given(WORDS)
def test_sentences_hold_all_words_in_order(words: list[Word]) -> None:
    groups = sentences(words)
    assert [word for sentence in groups for word in sentence.words] == words
    assert all(len(sentence.words) <= MAX_WORDS for sentence in groups)
    for sentence in groups:
        assert not any(word.text in ("is.", "he?", '"ha!"') for word in sentence.words[:-1])


def test_a_pause_ends_a_sentence() -> None:
    words = [Word(0, 1, "he"), Word(1, 2, "runs"), Word(2 + PAUSE_S + 0.1, 5, "and")]
    assert [sentence.text for sentence in sentences(words)] == ["he runs", "and"]


def test_each_verdict_is_carried_out(tmp_path: Path) -> None:
    verdicts = {
        "He shoots.": {"verdict": "keep"},
        "By our beer.": {"verdict": "delete"},
        "It's a gold!": {"verdict": "edit", "text": "It's a goal!"},
        "What now?": {"verdict": "sing"},
        "On and on.": {"verdict": "edit", "text": "word " * 50},
    }

    def judge(body: dict[str, Any]) -> str:
        shown = json.loads(body["messages"][1]["content"])
        assert shown["about"] == "football"
        return f"Here you are: ```json\n{json.dumps(verdicts[shown['sentence']])}\n```"

    words = [
        word
        for number, text in enumerate(verdicts)
        for word in spread(3.0 * number, 3.0 * number + 1.5, text)
    ]
    with chat_server(judge) as server:
        cleaned = clean(sentences(words), "football", asked(server, tmp_path), lambda done: None)
    assert joined(cleaned.words) == "He shoots. It's a goal! What now? On and on."
    assert cleaned.counts == {KEEP: 1, DELETE: 1, EDIT: 1, UNJUDGED: 2}
    assert cleaned.words[:2] == words[:2]
    assert cleaned.words[2].start_s == 6.0
    assert cleaned.words[4].end_s == 7.5
    shown = [json.loads(body["messages"][1]["content"]) for body in server.bodies]
    first = next(question for question in shown if question["sentence"] == "He shoots.")
    assert first["before"] == []
    assert first["after"] == list(verdicts)[1:4]


def sample(number: int, silent_s: float = 0.0, text: str = "One. Two.") -> tuple[int, Sample]:
    words = tuple(spread(silent_s, 10.0, text))
    return number, Sample(f"{number}.mp4", 0.0, 10.0, words)


def test_the_last_stage_has_little_silence_and_live_words(tmp_path: Path) -> None:
    def judge(body: dict[str, Any]) -> str:
        texts = json.loads(body["messages"][1]["content"])
        if texts == ["Mumble."]:
            return '{"live": []}'
        return json.dumps({"live": [not text.startswith("Once") for text in texts]})

    samples = [
        sample(0),
        sample(1, silent_s=4.0),
        sample(2, text="Once. Once upon."),
        sample(3, text="Now. Once."),
        sample(4, text="Mumble."),
    ]
    rejected: Counter[str] = Counter()
    with chat_server(judge) as server:
        kept = list(chosen(samples, AnnealSettings(3.0, 0.5), asked(server, tmp_path), rejected, batch=2))
    assert [number for number, _ in kept] == [0, 3]
    assert rejected == {TOO_SILENT: 1, NOT_LIVE: 1, NOBODY: 1}


def test_silence_alone_needs_no_judge() -> None:
    rejected: Counter[str] = Counter()
    kept = list(chosen([sample(0), sample(1, 4.0)], AnnealSettings(3.0), None, rejected))
    assert [number for number, _ in kept] == [0]
    with pytest.raises(ConfigError, match="give --endpoint and --judge"):
        list(chosen([sample(0)], AnnealSettings(3.0, 0.8), None, rejected))


@pytest.mark.parametrize(
    ("values", "field"), [((-1.0, 0.0), "max_silence_s"), ((1.0, 1.1), "min_live_share")]
)
def test_wrong_settings_name_their_field(values: tuple[float, float], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        AnnealSettings(*values)
