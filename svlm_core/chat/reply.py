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

"""What an endpoint replied: its words, or why there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Reply = dict[str, Any]
Answer = TypeVar("Answer")

TIMED_OUT, REFUSED, BROKEN = "timed out", "refused", "broken reply"  # why there is no answer; details follow
_SHOWN = 200  # characters of a foreign message


class NoReplyError(Exception):
    """One request came to nothing, others may fare better; TIMED_OUT, REFUSED or BROKEN, with details."""


class UnreadableError(NoReplyError):
    """A reply came, and what it says is of no use."""


def message(reply: Any) -> Reply:
    """The message of a chat completion.

    Raises:
        ValueError: it is none.
    """
    try:
        found = reply["choices"][0]["message"]
    except (KeyError, IndexError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("no choices[0].message in it")
    return found


def answer(reply: Reply, read: Callable[[str], Answer]) -> Answer:
    """What `read` makes of a reply's words; where it raises ValueError, they are of no use.

    Raises:
        UnreadableError: the words are of no use, or something else stands in their place.
    """
    try:
        said = message(reply)
        refusal, content = said.get("refusal"), said.get("content")
        if refusal or reply["choices"][0].get("finish_reason") == "content_filter":
            raise ValueError(f"{REFUSED}: {shown(str(refusal or 'content filter'))}")
        if not isinstance(content, str):
            raise ValueError(f"{BROKEN}: its content is {type(content).__name__}, not text")
        return read(content)
    except ValueError as error:
        raise UnreadableError(str(error)) from error


def shown(foreign: str) -> str:
    """A foreign message on one line, shortened."""
    return " ".join(foreign.split())[:_SHOWN]
