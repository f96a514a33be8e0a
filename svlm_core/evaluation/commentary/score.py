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

"""All figures of an events file against a timed reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from svlm_core.evaluation.commentary.alignment import speaking, windows
from svlm_core.evaluation.commentary.repetition import contradictions, repetition
from svlm_core.evaluation.commentary.text_scores import rouge_l, text_scores
from svlm_core.evaluation.commentary.timed_text import TimedLine
from svlm_core.evaluation.commentary.timeliness import match
from svlm_core.evaluation.runs.records import Record

WINDOW_S = 5  # of the text scores
_DIGITS = 6


def score_events(
    said: Sequence[TimedLine], reference: Sequence[TimedLine], window_s: int = WINDOW_S
) -> tuple[dict[str, Any], list[Record]]:
    """Figures, and a record of each event.

    Returns:
        timely_recall: mean worth of what was said about each line of the reference, 0 for a line nobody told.
        timely_precision: mean worth of each event.
        quality: mean quality of the matched words, whatever their time.
        delay_s_p50, delay_s_p90: from a line's beginning to the words that tell it.
        speaking_precision, speaking_recall: over seconds.
        text: text_scores over windows in which both speak; None without one.
        repeated_lines, repeated_grams, contradicts_itself, contradicts_reference: shares.

    Raises:
        MissingPackageError: says what to install.
    """
    pairs = match(said, reference, rouge_l())
    worth = sum(pair.worth for pair in pairs)
    delays = [pair.delay_s for pair in pairs]
    precision, recall = speaking(said, reference)
    both = [window for window in windows(said, reference, window_s) if window.said and window.reference]
    text = text_scores([w.said for w in both], [w.reference for w in both]) if both else None
    again = repetition(said)
    itself, against = contradictions(said, said), contradictions(said, reference)
    share = _share(len(said))
    figures = {
        "timely_recall": _round(worth / len(reference)),
        "timely_precision": _round(worth / len(said) if said else None),
        "quality": _round(sum(pair.quality for pair in pairs) / len(pairs) if pairs else None),
        "delay_s_p50": _round(float(np.percentile(delays, 50)) if delays else None),
        "delay_s_p90": _round(float(np.percentile(delays, 90)) if delays else None),
        "speaking_precision": _round(precision),
        "speaking_recall": _round(recall),
        "repeated_lines": _round(again.lines),
        "repeated_grams": _round(again.grams),
        "contradicts_itself": _round(share * len(itself) if share else None),
        "contradicts_reference": _round(share * len(against) if share else None),
        "events": len(said),
        "reference_lines": len(reference),
        "text_windows": len(both),
        "text": text,
    }
    return figures, _records(said, reference, {pair.said: pair for pair in pairs})


def _records(
    said: Sequence[TimedLine], reference: Sequence[TimedLine], pairs: dict[int, Any]
) -> list[Record]:
    records = []
    for number, line in enumerate(said):
        pair = pairs.get(number)
        records.append(
            {
                "id": line.id,
                "start_s": round(line.start_s, 3),
                "said": line.text,
                "reference": reference[pair.reference].text if pair else "",
                "delay_s": round(pair.delay_s, 3) if pair else None,
                "score": round(pair.worth, _DIGITS) if pair else 0.0,
            }
        )
    return records


def _share(count: int) -> float | None:
    return 1 / count if count else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
