"""Questions to a running stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
