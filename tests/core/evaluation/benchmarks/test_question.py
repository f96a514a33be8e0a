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

"""What counts as an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.evaluation.benchmarks.question import (
    bare,
    choice,
    mark,
    Question,
    read_letter,
    read_number,
    read_yes_no,
)

OPTIONS = ("A. a red car", "B. Blue bus.", "C. nothing", "D. two dogs")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("D. two dogs", "D"),
        ("The answer is B.", "B"),
        ("The best option is: C", "C"),
        ("Answer: A", "A"),
        ("A", "A"),
        ("a red car", "A"),  # its article is no letter, its words are
        ("It is the blue bus", "B"),
        ("A green tree", ""),
        ("Because", ""),
        ("E", ""),
        ("a red car and two dogs", ""),
        ("", ""),
    ],
)
def test_letters(reply: str, letter: str) -> None:
    assert read_letter(reply, OPTIONS) == letter


@given(st.sampled_from("ABCD"), st.sampled_from(["{}", "({})", "{}.", "Answer: {}", "the option is {}"]))
def test_every_plain_letter_is_read(letter: str, form: str) -> None:
    assert read_letter(form.format(letter), OPTIONS) == letter


@pytest.mark.parametrize(
    ("reply", "read"),
    [("Yes", "Yes"), ("no.", "No"), ("N", "No"), ("Yesterday", ""), ("Maybe, yes", ""), ("", "")],
)
def test_yes_and_no(reply: str, read: str) -> None:
    assert read_yes_no(reply) == read


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("3", "3"),
        ("Three times", "3"),
        ("3, that is three", "3"),
        ("1 or 2", ""),
        ("often", ""),
        ("12", "12"),
    ],
)
def test_numbers(reply: str, read: str) -> None:
    assert read_number(reply) == read


def test_letters_are_written_once() -> None:
    assert [bare(option) for option in OPTIONS] == ["a red car", "Blue bus.", "nothing", "two dogs"]
    assert choice("Which?", OPTIONS).splitlines()[1] == "A. a red car"
    assert choice("Which?", ["a red car"]).splitlines() == [
        "Which?",
        "A. a red car",
        "Answer with one letter: A.",
    ]


@pytest.mark.parametrize(
    ("answer", "options", "reply", "outcome"),
    [
        ("B", OPTIONS, "B", ("B", True)),
        ("B", OPTIONS, "Anything But", ("", False)),  # a B somewhere is no B
        ("No", (), "No", ("No", True)),
        ("3", (), "13", ("13", False)),
        ("Break point", (), "It is break  point!", ("It is break point!", True)),
    ],
)
def test_marks(answer: str, options: tuple[str, ...], reply: str, outcome: tuple[str, bool]) -> None:
    assert mark(Question("q", "v", 0, 1, "?", answer, options), reply) == outcome
