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

"""The golden traces of the StreamingVLM reference and what made them; data/golden/README.md explains all."""

from __future__ import annotations

from dataclasses import dataclass
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

FOLDER = Path(__file__).parent / "data" / "golden"
QUERY = "Commentate on this match"
PREVIOUS_TEXT = "This is a NBA game between the Golden State Warriors and the Detroit Pistons"
LOGITS_STEP = 2374  # `raw` holds every so manieth logit


@dataclass(frozen=True)
class TraceChunk:
    """One chunk of a run of the reference.

    Attributes:
        ids: int64 [n]: all ids present when generation starts.
        kept: int64 [m]: ids left after the eviction before this chunk; the last two are not in the cache.
        kept_kv: cached keys left after that eviction.
        new: int64 [5]: the forced tokens.
        prefill_len: ids in the first forward.
        kv_len: cached keys after the last forward.
        pos: float32 [3, kv_len]: position of every key at the last forward, in cache order.
        src: int16 [2, kv_len]: the chunk that computed each key, and its index among the ids forwarded there.
        top_i: int64 [5, 8]: the largest logits' ids, descending, for each forced token.
        top_v: float32 [5, 8]: their values.
        lse: float32 [5]: log-sum-exp of all logits.
        raw: float32 [5, 64]: logits[::LOGITS_STEP].
    """

    ids: np.ndarray
    kept: np.ndarray
    kept_kv: int
    new: np.ndarray
    prefill_len: int
    kv_len: int
    pos: np.ndarray
    src: np.ndarray
    top_i: np.ndarray
    top_v: np.ndarray
    lse: np.ndarray
    raw: np.ndarray


@dataclass(frozen=True)
class Trace:
    """A whole run. The two arrays of chunk 0's vision are in T3 only, and empty for other runs.

    Attributes:
        chunks: in order.
        pixels0: float32 [20, 1176]: every 20th row of patches.
        vision0: float32 [100, 128]: the vision tokens.
    """

    chunks: tuple[TraceChunk, ...]
    pixels0: np.ndarray
    vision0: np.ndarray


def load_trace(name: str) -> Trace:
    """Read a run, "T1" or "T3"."""
    with np.load(FOLDER / f"{name}.npz") as file:
        data = {key: file[key] for key in file.files}

    def part(key: str, chunk: int, offsets: str = "") -> np.ndarray:
        begin, end = data[offsets or f"{key}_off"][chunk : chunk + 2]
        values: np.ndarray = data[key]
        return values[..., begin:end]

    chunks = tuple(
        TraceChunk(
            ids=part("ids", i).astype(np.int64),
            kept=part("kept", i).astype(np.int64),
            kept_kv=int(data["kept_kv"][i]),
            new=data["new"][i].astype(np.int64),
            prefill_len=int(data["prefill_len"][i]),
            kv_len=int(data["kv_len"][i]),
            pos=part("pos", i),
            src=part("src", i, "pos_off"),
            top_i=data["top_i"][i].astype(np.int64),
            top_v=data["top_v"][i],
            lse=data["lse"][i],
            raw=data["raw"][i],
        )
        for i in range(len(data["new"]))
    )
    return Trace(chunks, *(data.get(key, np.empty(0)) for key in ("pixels0", "vision0")))


def frames(chunk: int) -> np.ndarray:
    """The frames the reference saw in a chunk: uint8 [2, 280, 280, 3]."""
    pictures: np.ndarray = _script("frames").chunk(chunk)
    return pictures


def write_checkpoint(folder: Path) -> None:
    """Write the model and tokenizer of the traces into a folder (55 MB, 5 s).

    Raises:
        FileNotFoundError: the PyPI package dashscope, which carries the Qwen vocabulary, is not installed.
    """
    package = importlib.util.find_spec("dashscope")  # located, not imported: only its data file is wanted
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(
            "the Qwen vocabulary is in the PyPI package dashscope: pip install --no-deps dashscope"
        )
    vocabulary = Path(package.submodule_search_locations[0]) / "resources" / "qwen.tiktoken"
    _script("make_xs").main(folder)
    _script("make_tokenizer").main(vocabulary, folder)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
