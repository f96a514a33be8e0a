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

"""What a robot remembers of what was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from svlm_core.offload import wire
from svlm_core.offload.said import MOST_CHARACTERS, SaidText


def test_words_are_joined_by_spaces_and_silence_adds_nothing() -> None:
    said = SaidText("once")
    for text in ("red stops", "", "red goes left"):
        said.append(text)
    assert str(said) == "once red stops red goes left"
    assert str(SaidText()) == ""


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=40), st.integers(2, 50))
def test_it_is_bounded_and_keeps_the_beginning_and_the_end(texts: list[str], most: int) -> None:
    said, whole = SaidText(most=most), ""
    for text in texts:
        said.append(text)
        whole = f"{whole} {text}" if whole and text else whole + text
        assert len(str(said)) == min(most, len(whole))
    first, last = most // 2, most - most // 2
    assert str(said) == (whole if len(whole) <= most else whole[:first] + whole[-last:])


def test_the_longest_text_fits_into_a_hello() -> None:
    said = SaidText("\N{GRINNING FACE}" * 2 * MOST_CHARACTERS)
    hello = wire.Hello(wire.VERSION, "session", said=str(said))
    assert wire.Reader(wire.FromRobot).read(wire.pack(hello)) == hello
