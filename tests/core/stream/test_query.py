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

"""Questions: what can be asked at all."""

from __future__ import annotations

import pytest
from svlm_core.errors import QueryError
from svlm_core.stream.query import Query, TimedQuery


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_question_without_words_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="a question needs words"):
        Query(text, "q1")


def test_what_is_far_too_long_is_refused_before_anything_looks_into_it() -> None:
    with pytest.raises(QueryError, match="a question's text may have 16384 characters, this has 16385"):
        Query("x" * 16_385)
    with pytest.raises(QueryError, match="a question's query_id may have 16384 characters"):
        Query("what?", "x" * 20_000)
    Query("x" * 16_384, "y" * 16_384)


@pytest.mark.parametrize("values", [("what\ud800?", ""), ("what?", "\ud800")], ids=["text", "query_id"])
def test_half_a_character_is_refused(values: tuple[str, str]) -> None:
    with pytest.raises(QueryError, match="is not valid Unicode"):
        Query(*values)


@pytest.mark.parametrize("at_s", [-0.1, float("nan"), float("inf")])
def test_a_time_that_no_stream_comes_to_is_refused(at_s: float) -> None:
    with pytest.raises(QueryError, match="a stream is never"):
        TimedQuery("what?", "q1", at_s)
    with pytest.raises(QueryError, match="needs words"):
        TimedQuery("", "q1", 1.0)
