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

"""One stream: its memory has a fixed size, and nothing outside decides what it says."""

from __future__ import annotations

from typing import Any

import pytest
from small_stream import chunk_at, Script, small_config
from svlm_core.cache.segments import Role
from svlm_core.config import POLICIES
from svlm_core.errors import CacheFullError, ConfigError, QueryError
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.session import StreamSession
import torch

SAMPLED = {"temperature": 1.5, "repetition_penalty": 1.3, "top_k": 40, "top_p": 0.9}


def ids(result: ChunkResult) -> tuple[int, ...]:
    return result.token_ids


def run(session: StreamSession, chunks: int = 8) -> list[tuple[int, ...]]:
    return [ids(session.step(chunk_at(index))) for index in range(chunks)]


@pytest.mark.parametrize("changes", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_the_same_pictures_and_seed_give_the_same_words(
    small_model: StreamModel, changes: dict[str, Any]
) -> None:
    config = small_config(**changes)
    assert run(StreamSession(small_model, config)) == run(StreamSession(small_model, config))


def test_another_seed_or_another_picture_gives_other_words(small_model: StreamModel) -> None:
    words = run(StreamSession(small_model, small_config(**SAMPLED)))
    assert words != run(StreamSession(small_model, small_config(**SAMPLED, sampling_seed=1)))
    session = StreamSession(small_model, small_config(**SAMPLED))
    assert words != [ids(session.step(chunk_at(index))) for index in range(1, 9)]


@pytest.mark.parametrize("changes", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_reset_session_answers_like_a_new_one(small_model: StreamModel, changes: dict[str, Any]) -> None:
    session = StreamSession(small_model, small_config(**changes))
    first = run(session)
    session.reset()
    assert session.cache_tokens == session.capacity_tokens == 0
    assert run(session) == first


def test_two_sessions_of_one_model_do_not_interfere(small_model: StreamModel) -> None:
    configs = [small_config(**SAMPLED), small_config(policy="window", prompt="other")]
    alone = [run(StreamSession(small_model, config)) for config in configs]
    sessions = [StreamSession(small_model, config) for config in configs]
    together: list[list[tuple[int, ...]]] = [[], []]
    for index in range(8):
        for session, said in zip(sessions, together, strict=True):
            said.append(ids(session.step(chunk_at(index))))
    assert together == alone


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"protocol": "streamingvlm"},
        {"vision_window_s": 1.0},
        {"policy": "window"},
        {"policy": "last-frames"},
        {"policy": "native-positions"},
    ],
    ids=["streaming", "streamingvlm", "one chunk", "window", "last frames", "native positions"],
)
@pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked"])
def test_the_capacity_is_fixed_and_never_exceeded(
    small_model: StreamModel, changes: dict[str, Any], asked: bool
) -> None:
    config = small_config(max_new_tokens=3, max_query_tokens=100 if asked else 0, **changes)
    longest = Query("q" * 100) if asked else None
    # The longest answers there can be: no silence mark, no end of turn, cut at the limit.
    session = StreamSession(small_model, config, lambda logits, context: 97)
    capacities, tokens = set(), []
    for index in range(100, 200):  # the time text is equally long in all of them
        result = session.step(chunk_at(index), query=longest)
        assert len(result.token_ids) == config.max_new_tokens
        assert result.cache_tokens == session.cache_tokens <= session.capacity_tokens
        capacities.add(session.capacity_tokens)
        tokens.append(result.cache_tokens)
    assert len(capacities) == 1
    assert max(tokens[20:40]) == max(tokens[80:]), "the cache still grows"


def test_a_previous_text_longer_than_its_window_fits(small_model: StreamModel) -> None:
    config = small_config(previous_text="long ago " * 40)
    session = StreamSession(small_model, config)
    first = session.step(chunk_at(0)).cache_tokens
    assert 360 < first <= session.capacity_tokens
    assert session.step(chunk_at(1)).cache_tokens < 360, "the middle of the old text was not forgotten"


def test_full_attention_ends_with_an_error_that_names_the_setting(small_model: StreamModel) -> None:
    session = StreamSession(small_model, small_config(policy="full", full_capacity_tokens=256))
    said = 0
    with pytest.raises(CacheFullError) as caught:
        for said in range(100):
            session.step(chunk_at(said))
    assert said > 1
    assert "raise full_capacity_tokens" in str(caught.value) and "of 256 tokens" in str(caught.value)
    held = session.context.ids, session.cache_tokens, session.context.positions.tolist()
    with pytest.raises(CacheFullError):
        session.step(chunk_at(said))
    assert held == (session.context.ids, session.cache_tokens, session.context.positions.tolist())
    session.reset()
    session.step(chunk_at(0))


def test_a_cache_larger_than_the_models_positions_is_refused_before_the_first_chunk(
    small_model: StreamModel,
) -> None:
    session = StreamSession(small_model, small_config(policy="full", full_capacity_tokens=4097))
    with pytest.raises(CacheFullError, match=r"need a KV cache of 4097 tokens, .* knows only 4096 positions"):
        session.step(chunk_at(0))
    assert session.cache_tokens == 0


def test_the_first_chunk_that_does_not_fit_leaves_no_stream_behind(small_model: StreamModel) -> None:
    config = small_config(policy="full", full_capacity_tokens=256, previous_text="x" * 256)
    session = StreamSession(small_model, config)
    with pytest.raises(CacheFullError):
        session.step(chunk_at(0))
    assert session.cache_tokens == session.capacity_tokens == 0
    with pytest.raises(RuntimeError, match="from the first chunk on"):
        _ = session.context


@pytest.mark.parametrize(
    ("said", "text", "silent"),
    [
        (" a dunk ...", "a dunk", False),
        (" ...", "", True),
        ("", "", True),
        ("<|im_end|>", "<|im_end|>", False),
    ],
    ids=["phrase", "mark", "nothing", "looks special"],
)
def test_the_text_is_the_words_alone(small_model: StreamModel, said: str, text: str, silent: bool) -> None:
    config = small_config(max_new_tokens=20)
    script = Script(Protocol.from_config(config, small_model.tokenizer), said)
    result = StreamSession(small_model, config, script).step(chunk_at(0))
    assert (result.text, result.text == "") == (text, silent)
    assert len(result.token_ids) == len(said) + 1, "all ids, silence mark and end of turn included"


def test_a_model_that_says_a_vision_token_has_said_a_word(small_model: StreamModel) -> None:
    pad = small_model.video_token_id
    session = StreamSession(small_model, small_config(max_new_tokens=2), lambda logits, context: pad)
    for index in range(6):
        result = session.step(chunk_at(index))
        assert (result.token_ids, result.text) == ((pad, pad), "")


def test_every_stage_of_a_chunk_is_timed_and_every_token_counted(small_model: StreamModel) -> None:
    config = small_config()
    script = Script(Protocol.from_config(config, small_model.tokenizer), "abc", "ab")
    session = StreamSession(small_model, config, script)
    first, second = session.step(chunk_at(0)), session.step(chunk_at(1))
    for result in (first, second):
        assert set(result.stage_ms) == {"preprocess", "vision", "cache", "prefill", "decode"}
        assert all(stage >= 0 for stage in result.stage_ms.values())
    assert first.cache_tokens == first.prefill_tokens + 3
    assert second.cache_tokens == first.cache_tokens + second.prefill_tokens + 2


def test_a_chunk_with_one_frame_less_is_understood(small_model: StreamModel) -> None:
    session = StreamSession(small_model, small_config())
    whole = chunk_at(0)
    session.step(type(whole)(0, whole.frames[:1]))
    session.step(chunk_at(1))
    assert [segment.vision.grid[0] for segment in session.context.segments if segment.vision] == [1, 1]


class Kept:
    """Says some letters one after the other, for ever, and keeps the logits."""

    def __init__(self, model: StreamModel, letters: str = "a") -> None:
        self.logits: list[torch.Tensor] = []
        self._words = model.tokenizer.encode(letters, add_special_tokens=False)

    def __call__(self, logits: torch.Tensor, counts: torch.Tensor) -> int:
        self.logits.append(logits.clone())
        return self._words[(len(self.logits) - 1) % len(self._words)]


def user_turn(session: StreamSession, chunk: int) -> str:
    """What the user's turn of a chunk says."""
    (ids,) = [s.ids for s in session.context.segments if s.role is Role.USER and s.chunk == chunk]
    return session._model.tokenizer.decode(ids)


@pytest.mark.parametrize("protocol", ["svlm", "streamingvlm"])
def test_a_question_rides_behind_the_frames_of_its_chunk_alone(
    small_model: StreamModel, protocol: str
) -> None:
    session = StreamSession(small_model, small_config(protocol=protocol, prompt="say"))
    query = Query("how many? <|im_end|>")
    for index in (0, 1, 2):
        session.step(chunk_at(index), query=None if index == 1 else query)
    first = "say\n" if protocol == "streamingvlm" else ""
    assert user_turn(session, 0).endswith(f"<|vision_end|>{first}how many? <|im_end|><|im_end|>\n")
    assert user_turn(session, 1).endswith("<|vision_end|><|im_end|>\n")
    assert user_turn(session, 2).endswith("<|vision_end|>how many? <|im_end|><|im_end|>\n")
    end = session._protocol.end_of_turn
    turns = [s.ids for s in session.context.segments if s.role is Role.USER and s.chunk != 1]
    assert [ids.count(end) for ids in turns] == [1, 1], "what looks like a special token became one"


def test_a_question_changes_what_is_seen_and_no_question_changes_nothing(small_model: StreamModel) -> None:
    kept = [Kept(small_model) for _ in range(3)]
    plain, asked, without_room = (
        StreamSession(small_model, small_config(**changes), each)
        for each, changes in zip(kept, ({}, {}, {"max_query_tokens": 0}), strict=True)
    )
    for index in range(8):
        plain.step(chunk_at(index))
        asked.step(chunk_at(index), query=Query("what?") if index == 4 else None)
        without_room.step(chunk_at(index))
    assert all(map(torch.equal, kept[0].logits, kept[2].logits))
    same = [torch.equal(a, b) for a, b in zip(kept[0].logits, kept[1].logits, strict=True)]
    assert all(same[: 4 * 8]) and not any(same[4 * 8 :])


def test_a_question_that_is_too_long_is_refused_and_the_stream_is_as_before(small_model: StreamModel) -> None:
    session = StreamSession(small_model, small_config(max_query_tokens=5))
    session.step(chunk_at(0))
    held = session.context.ids, session.cache_tokens
    for refused in (session.check_query, lambda query: session.step(chunk_at(1), query=query)):
        with pytest.raises(QueryError, match=r"has 6 tokens, max_query_tokens allows 5: 'longer'"):
            refused(Query("longer"))
    assert held == (session.context.ids, session.cache_tokens)
    session.step(chunk_at(1), query=Query("short"))


def test_the_text_so_far_is_what_may_stay_of_all_that_was_said(small_model: StreamModel) -> None:
    config = small_config(text_sink_tokens=4, text_window_tokens=6)
    script = Script(
        Protocol.from_config(config, small_model.tokenizer), "ab", "", " ...", "cd ...", "ef", "gh"
    )
    session = StreamSession(small_model, config, script)
    said = [session.said_text]
    for index in range(8):
        session.step(chunk_at(index))
        said.append(session.said_text)
    assert said[:6] == ["once", "onceab", "onceab", "onceab", "onceabcd", "onceabcdef"]
    assert said[6:] == ["oncecdefgh"] * 3, "the first four and the last six tokens"
    session.reset()
    assert session.said_text == "once"


def test_the_text_so_far_of_policy_full_is_everything(small_model: StreamModel) -> None:
    config = small_config(policy="full", text_sink_tokens=0, text_window_tokens=1)
    session = StreamSession(small_model, config, Kept(small_model))
    session.step(chunk_at(0))
    assert session.said_text == "once" + 8 * "a"


def test_the_text_so_far_does_not_change_when_a_chunk_fails_to_fit(small_model: StreamModel) -> None:
    session = StreamSession(
        small_model, small_config(policy="full", full_capacity_tokens=256), Kept(small_model)
    )
    with pytest.raises(CacheFullError):
        for index in range(100):
            before = session.said_text
            session.step(chunk_at(index))
    assert session.said_text == before and before.startswith("onceaaaaaaaa")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("protocol", ["svlm", "streamingvlm"])
def test_a_new_prompt_goes_on_like_a_new_stream_that_is_given_the_text_so_far(
    small_model: StreamModel, policy: str, protocol: str
) -> None:
    config = small_config(
        policy=policy, protocol=protocol, text_window_tokens=200, max_new_tokens=3, full_capacity_tokens=2000
    )
    kept, expected = Kept(small_model, "abc"), Kept(small_model, "abc")
    session = StreamSession(small_model, config, kept)
    for index in range(7):
        session.step(chunk_at(index))
    changed = config.replace({"prompt": "now in other words"}, "test")
    session.reconfigure(changed)
    fresh = StreamSession(
        small_model, changed.replace({"previous_text": session.said_text}, "test"), expected
    )
    assert session.said_text.startswith("onceabc")
    kept.logits.clear()
    for index in range(7, 17):
        session.step(chunk_at(index))
        fresh.step(chunk_at(index))
        assert session.context.ids == fresh.context.ids
        assert session.said_text == fresh.said_text
    assert len(kept.logits) == 30 and all(map(torch.equal, kept.logits, expected.logits))


def test_after_a_new_prompt_a_reset_forgets_the_text_too(small_model: StreamModel) -> None:
    config = small_config()
    session = StreamSession(small_model, config, Kept(small_model))
    session.step(chunk_at(0))
    session.reconfigure(config.replace({"prompt": "other"}, "test"))
    session.reset()
    session.step(chunk_at(0))
    (previous,) = [s.ids for s in session.context.segments if s.role is Role.PREVIOUS]
    assert small_model.tokenizer.decode(previous) == "once"


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.0},
        {"top_p": 0.3},
        {"top_k": 2},
        {"repetition_penalty": 9.0},
        {"sampling_seed": 5},
        {"max_new_tokens": 3},
        {"chunk_budget_s": 0.5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_sampling_changes_from_the_next_chunk_on_and_the_cache_stays(
    small_model: StreamModel, changes: dict[str, Any]
) -> None:
    config = small_config(**SAMPLED)
    changed = config.replace(changes, "test")
    steady, session = StreamSession(small_model, config), StreamSession(small_model, config)
    assert run(session, 3) == run(steady, 3)
    arena, cached = session.context.arena, session.cache_tokens
    session.reconfigure(changed)
    assert (session.config, session.cache_tokens) == (changed, cached)
    said = [ids(session.step(chunk_at(index))) for index in range(3, 8)]
    assert session.context.arena is arena
    steadily = [ids(steady.step(chunk_at(index))) for index in range(3, 8)]
    assert (said == steadily) == ("chunk_budget_s" in changes)
    assert max(map(len, said)) <= changed.max_new_tokens


def test_the_random_state_goes_on_when_nothing_about_chance_changes(small_model: StreamModel) -> None:
    config = small_config(**SAMPLED)
    session, steady = StreamSession(small_model, config), StreamSession(small_model, config)
    for index in range(6):
        session.reconfigure(config.replace({"chunk_budget_s": 1.0 + index}, "test"))
        assert ids(session.step(chunk_at(index))) == ids(steady.step(chunk_at(index)))


def test_a_seed_set_live_is_the_seed_of_what_follows(small_model: StreamModel) -> None:
    config = small_config(policy="last-frames", previous_text="", temperature=1.5)
    session = StreamSession(small_model, config)
    run(session, 3)
    session.reconfigure(config.replace({"sampling_seed": 9}, "test"))
    fresh = StreamSession(small_model, config.replace({"sampling_seed": 9}, "test"))
    assert [ids(session.step(chunk_at(k))) for k in (3, 4)] == [ids(fresh.step(chunk_at(k))) for k in (3, 4)]


def test_longer_answers_than_the_cache_was_made_for_get_a_larger_one_and_the_text_stays(
    small_model: StreamModel,
) -> None:
    config = small_config(max_new_tokens=2, text_window_tokens=400)
    session = StreamSession(small_model, config, Kept(small_model))
    for index in range(6):
        session.step(chunk_at(index))
    before, text = session.capacity_tokens, session.said_text
    session.reconfigure(config.replace({"max_new_tokens": 20}, "test"))
    result = session.step(chunk_at(6))
    assert len(result.token_ids) == 20 and session.capacity_tokens > before
    (previous,) = [s.ids for s in session.context.segments if s.role is Role.PREVIOUS]
    assert small_model.tokenizer.decode(previous) == text
    arena = session.context.arena
    session.reconfigure(config.replace({"max_new_tokens": 2}, "test"))
    session.step(chunk_at(7))
    session.reconfigure(config.replace({"max_new_tokens": 20}, "test"))
    for index in range(8, 16):
        session.step(chunk_at(index))
    assert session.context.arena is arena, "there was room"


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "full"])
def test_prompts_and_questions_without_end_never_overflow_the_cache(
    small_model: StreamModel, policy: str
) -> None:
    config = small_config(policy=policy, protocol="streamingvlm", max_query_tokens=20)
    session = StreamSession(small_model, config, Kept(small_model))
    for index in range(60):
        session.reconfigure(
            config.replace({"prompt": "p" * (index * 7 % 50), "max_new_tokens": 1 + index % 9}, "test")
        )
        assert session.step(chunk_at(index), query=Query("q" * 20)).cache_tokens <= session.capacity_tokens
        most = config.text_sink_tokens + config.text_window_tokens
        assert len(session.said_text) <= most + len("once")


FIXED: dict[str, Any] = {
    "policy": "window",
    "fps": 4.0,
    "vision_window_s": 5.0,
    "time_text": False,
    "system_prompt": "other",
    "previous_text": "other",
    "max_query_tokens": 1,
    "text_window_tokens": 7,
}


@pytest.mark.parametrize("field", FIXED)
def test_a_field_that_may_not_change_is_refused_by_name_and_nothing_has_changed(
    small_model: StreamModel, field: str
) -> None:
    config = small_config()
    session, steady = StreamSession(small_model, config), StreamSession(small_model, config)
    run(session, 2), run(steady, 2)
    with pytest.raises(ConfigError, match=f"^{field} cannot change while a stream runs; these can: prompt, "):
        session.reconfigure(config.replace({field: FIXED[field], "prompt": "new"}, "test"))
    assert session.config == config
    assert ids(session.step(chunk_at(2))) == ids(steady.step(chunk_at(2)))


def test_a_prompt_that_the_model_has_no_positions_for_is_refused_while_the_stream_runs(
    small_model: StreamModel,
) -> None:
    config = small_config()
    session = StreamSession(small_model, config)
    session.step(chunk_at(0))
    cached = session.cache_tokens
    with pytest.raises(ConfigError, match=r"knows only 4096 positions; shorten .*prompt"):
        session.reconfigure(config.replace({"prompt": "x" * 5000}, "test"))
    assert session.step(chunk_at(1)).cache_tokens > cached and session.config == config


def test_a_stream_goes_on_from_what_another_has_said_until_it_is_reset(small_model: StreamModel) -> None:
    config = small_config(policy="full", full_capacity_tokens=2000)
    said = "it was said before, and at length"
    session = StreamSession(small_model, config, said=said)
    assert session.said_text == said
    assert run(session) == run(StreamSession(small_model, config.replace({"previous_text": said}, "test")))
    session.reset()
    assert session.said_text == config.previous_text
    assert run(session) == run(StreamSession(small_model, config))


def test_of_a_text_that_is_too_long_what_may_stay_is_taken(small_model: StreamModel) -> None:
    session = StreamSession(small_model, small_config(), said="abcdefgh" * 1000)
    text = session.said_text
    assert len(text) == session.config.text_sink_tokens + session.config.text_window_tokens
    assert text.startswith("abcdef") and text.endswith("abcdefgh")
    plain = StreamSession(small_model, small_config())
    session.step(chunk_at(0)), plain.step(chunk_at(0))
    assert session.capacity_tokens == plain.capacity_tokens


def test_words_are_heard_while_they_are_found(small_model: StreamModel) -> None:
    session = StreamSession(small_model, small_config())
    heard: list[list[int]] = []
    result = session.step(chunk_at(0), hear=lambda token_ids: heard.append(list(token_ids)))
    assert heard == [list(result.token_ids[:n]) for n in range(1, len(result.token_ids))]
    assert session.words(result.token_ids) == result.text
