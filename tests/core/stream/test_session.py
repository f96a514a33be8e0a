"""One stream: its memory has a fixed size, and nothing outside decides what it says."""

from __future__ import annotations

from typing import Any

import pytest
from small_stream import Script, chunk_at, small_config

from svlm_core.errors import CacheFullError
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.session import ChunkResult, StreamSession

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
    ],
    ids=["streaming", "streamingvlm", "one chunk", "window", "last frames"],
)
def test_the_capacity_is_fixed_and_never_exceeded(small_model: StreamModel, changes: dict[str, Any]) -> None:
    config = small_config(max_new_tokens=3, **changes)
    # The longest answers there can be: no silence mark, no end of turn, cut at the limit.
    session = StreamSession(small_model, config, lambda logits, context: 97)
    capacities, tokens = set(), []
    for index in range(100, 200):  # the time text is equally long in all of them
        result = session.step(chunk_at(index))
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
