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

"""Questions on the streaming path: put aside, at their moment, under every policy that can be copied."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from silent_progress import Silent
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks.asking import (
    answer_offline,
    answer_streaming,
    AskingSession,
    sample_evenly,
)
from svlm_core.evaluation.benchmarks.question import Question
from svlm_core.frames import Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import EMBEDDED, load_model
from svlm_core.sources.clip import Clip
from svlm_core.sources.world import WorldSource
from svlm_core.stream.defaults import stream_config
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import StreamSession

SEED, LENGTH_S = 1_000_007, 22
CAPACITY = {"full_capacity_tokens": 3000}  # the embedded model knows 4096 positions


@pytest.fixture(scope="module")
def model() -> StreamModel:
    return load_model(EMBEDDED)


def config(model: StreamModel, **fields: object) -> StreamConfig:
    return stream_config(model, ({**CAPACITY, **fields}, "test"))


def question(name: str, at_s: float, text: str = "What was said?") -> Question:
    return Question(name, "v", 0.0, at_s, text, "A")


def answers(model: StreamModel, asked: Sequence[Question], **fields: object) -> dict[str, str]:
    source = WorldSource(SEED, LENGTH_S)
    found = answer_streaming(model, config(model, **fields), source, asked, Silent())
    return {answer.question.id: answer.reply for answer in found}


@pytest.mark.parametrize("policy", ["streaming", "full", "native-positions", "last-frames"])
def test_the_stream_never_hears_of_a_question(policy: str, model: StreamModel) -> None:
    given_config = config(model, policy=policy, temperature=0.7)  # its random state must go on, too
    plain = StreamRun(WorldSource(SEED, LENGTH_S), StreamSession(model, given_config))
    alone = [[event.text for event in events] for _, events in plain]
    asked = [question(f"q{n}", at_s) for n, at_s in enumerate((0, 0.5, 1, 7, 7, 19.2, 22))]
    session = AskingSession(model, given_config, asked)
    run = StreamRun(WorldSource(SEED, LENGTH_S), session)
    assert [[event.text for event in events] for _, events in run] == alone
    assert any(alone), "the stream said nothing: choose another world"
    assert [answer.seen_until_s for answer in session.answers] == [1, 1, 1, 7, 7, 20, 22]


def test_questions_do_not_colour_one_another(model: StreamModel) -> None:
    asked = [
        question(f"q{n}", at_s, text) for n, (at_s, text) in enumerate([(8, "new"), (8, "gone"), (21, "x")])
    ]
    together = answers(model, asked)
    assert together == {name: reply for q in asked for name, reply in answers(model, [q]).items()}
    assert set(together) == {"q0", "q1", "q2"}


def test_a_question_is_answered_from_what_had_been_seen(model: StreamModel) -> None:
    asked = question("q", 12)
    cut = Clip(WorldSource(SEED, LENGTH_S), 0, 12)
    (from_cut,) = answer_streaming(model, config(model), cut, [asked], Silent())
    assert answers(model, [asked]) == {"q": from_cut.reply}, "the rest of the video makes no difference"


def test_long_questions_get_room(model: StreamModel) -> None:
    (reply,) = answers(model, [question("q", 3, "many words " * 30)]).values()
    assert isinstance(reply, str)


def test_questions_after_the_end_have_no_answer(model: StreamModel) -> None:
    assert set(answers(model, [question("in", 22), question("after", 23)])) == {"in"}


def test_a_window_that_is_computed_anew_cannot_be_asked(model: StreamModel) -> None:
    with pytest.raises(ConfigError, match="window-recompute"):
        answers(model, [question("q", 3)], policy="window-recompute")


def test_the_offline_path_sees_frames_of_all_the_time_before(model: StreamModel) -> None:
    source = Clip(WorldSource(SEED, LENGTH_S), 0, 20)
    answer = answer_offline(model, config(model), source, question("q", 20), 8)
    assert answer.seen_until_s == pytest.approx(20)
    assert answer.jpeg[:2] == b"\xff\xd8"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.integers(1, 40))
def test_frames_are_sampled_evenly(count: int, most: int) -> None:
    rgb = np.zeros((28, 28, 3), np.uint8)
    kept = [frame.stamp_ns for frame in sample_evenly((Frame(n, rgb) for n in range(count)), most)]
    assert len(kept) <= most and kept == sorted(set(kept))
    if count:
        assert kept[-1] == count - 1 or most == 1 or kept == [count - 1]
    if count > most > 2:
        gaps = np.diff(kept)
        assert gaps.max() <= 2 * count / (most - 1) + 2, "no part of the time is left out"
