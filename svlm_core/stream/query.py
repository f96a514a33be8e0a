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

"""Questions to a running stream."""

from __future__ import annotations

from dataclasses import dataclass
import math

from svlm_core.errors import QueryError

_MAX_CHARACTERS = 16_384  # looked at before anything is tokenized


@dataclass(frozen=True)
class Query:
    """A question; its answer is an event of kind `answer`.

    Attributes:
        text: what is asked, in plain words.
        query_id: comes back with the answer, so that whoever asked knows it; any text, the asker's business.
    """

    text: str
    query_id: str = ""

    def __post_init__(self) -> None:
        """Raise QueryError when there is nothing to ask, or far too much."""
        if not self.text.strip():
            raise QueryError("a question needs words; the text is empty")
        for name, value in (("text", self.text), ("query_id", self.query_id)):
            if len(value) > _MAX_CHARACTERS:
                raise QueryError(
                    f"a question's {name} may have {_MAX_CHARACTERS} characters, this has {len(value)}"
                )
            try:
                value.encode()
            except UnicodeEncodeError:
                raise QueryError(f"a question's {name} is not valid Unicode: {value[:40]!r}") from None


@dataclass(frozen=True)
class TimedQuery(Query):
    """A question at a time known beforehand.

    Attributes:
        at_s: seconds since the stream's first frame; the question rides in the chunk of that moment.
    """

    at_s: float = 0.0

    def __post_init__(self) -> None:
        """Raise QueryError as Query does, or when there is no such time."""
        super().__post_init__()
        if not 0 <= self.at_s < math.inf:
            raise QueryError(f"a stream is never {self.at_s} seconds old")
