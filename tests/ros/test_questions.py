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

"""Questions as they come on the topic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.errors import QueryError
from svlm_core.stream.query import Query
from svlm_ros.questions import read_query


@pytest.mark.parametrize(
    ("line", "query"),
    [
        ("what is red?", Query("what is red?")),
        ('{"id": "a1", "text": "what is red?"}', Query("what is red?", "a1")),
        (' {"text": "what?", "id": 7, "more": null}', Query("what?", "7")),
        ('{"text": "what?"}', Query("what?")),
        ('["what?"]', Query('["what?"]')),
    ],
)
def test_plain_words_and_json(line: str, query: Query) -> None:
    assert read_query(line) == query


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "empty"),
        ('{"text": ""}', "empty"),
        ('{"text": 5}', "a question in JSON is"),
        ('{"id": [], "text": "what?"}', "a question in JSON is"),
        ('{"id": "a1"}', "a question in JSON is"),
        ('{"text": "what?"', "begins like JSON"),
        ('{"a":' * 100_000, "begins like JSON"),
        ("x" * 100_000, "16384"),
    ],
)
def test_what_is_no_question_is_refused_with_the_reason(line: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        read_query(line)


@given(st.text())
def test_any_text_is_a_question_or_refused(line: str) -> None:
    try:
        assert isinstance(read_query(line), Query)
    except QueryError as error:
        assert "\n" not in str(error)
