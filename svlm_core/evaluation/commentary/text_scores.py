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

"""BLEU and chrF by sacrebleu, ROUGE-L by rouge-score: the scores that papers quote, by the code they use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from svlm_core.errors import MissingPackageError

Rouge = Callable[[str, str], float]


def text_scores(said: Sequence[str], reference: Sequence[str]) -> dict[str, Any]:
    """Scores of texts against their references, one for one.

    Returns:
        bleu and chrf (corpus scores, 0 to 100), rouge_l (mean F1, 0 to 1), and sacrebleu's signatures.

    Raises:
        MissingPackageError: says what to install.
    """
    sacrebleu = _import("sacrebleu")
    bleu, chrf = sacrebleu.metrics.BLEU(), sacrebleu.metrics.CHRF()
    rouge = rouge_l()
    f1 = [rouge(a, b) for a, b in zip(said, reference, strict=True)]
    return {
        "bleu": round(float(bleu.corpus_score(list(said), [list(reference)]).score), 4),
        "chrf": round(float(chrf.corpus_score(list(said), [list(reference)]).score), 4),
        "rouge_l": round(sum(f1) / len(f1), 6),
        "signatures": [str(bleu.get_signature()), str(chrf.get_signature())],
    }


def rouge_l() -> Rouge:
    """ROUGE-L F1 of two texts, stems compared.

    Raises:
        MissingPackageError: says what to install.
    """
    scorer = _import("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    return lambda said, reference: float(scorer.score(reference, said)["rougeL"].fmeasure)


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackageError(
            "text scores need sacrebleu and rouge-score: pip install 'svlm_ros[eval]'"
        ) from None
