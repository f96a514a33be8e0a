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

from __future__ import annotations

from svlm_core.training.tokenizer import build_tokenizer, SPECIAL_TOKENS, world_sentences

PROMPT = "Say what happens."
COLOURS = ("red", "green", "blue", "yellow", "pink", "white")


def test_the_grammar_has_every_sentence_once() -> None:
    sentences = world_sentences()
    assert len(sentences) == len(set(sentences)) == 6 * 6 * 2 + 6 * 4 + 6 * 4 + 6
    for sentence in ("new red 1", "back white 6", "pink goes up", "blue gone bottom", "green stops"):
        assert sentence in sentences


def test_every_word_is_one_token_and_every_sentence_comes_back() -> None:
    tokenizer = build_tokenizer(PROMPT)
    for sentence in world_sentences():
        ids = tokenizer.encode(f" {sentence}", add_special_tokens=False)
        assert len(ids) == len(sentence.split())
        assert tokenizer.decode(ids) == f" {sentence}"
    assert len(tokenizer.encode(" ...", add_special_tokens=False)) == 1


def test_any_text_can_be_encoded() -> None:
    tokenizer = build_tokenizer(PROMPT)
    for text in (PROMPT, "Straße 7 ☂ 人\n", "previous text\n"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_it_is_the_same_each_time_and_begins_with_the_special_tokens() -> None:
    tokenizer = build_tokenizer(PROMPT)
    assert build_tokenizer(PROMPT).get_vocab() == tokenizer.get_vocab()
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == list(range(7))
    assert len(tokenizer) <= 512
