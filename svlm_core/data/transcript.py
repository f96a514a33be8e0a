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

"""What was said over a video, from any of the formats that transcripts come in."""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

from svlm_core.data.cues import cue_words
from svlm_core.data.problems import Problems
from svlm_core.data.whisper import line_words, whisper_words
from svlm_core.data.words import Word
from svlm_core.errors import SourceError

SUFFIXES = (".srt", ".vtt", ".json", ".jsonl")
MAX_BYTES = 256 << 20  # days of speech


@dataclass(frozen=True)
class Transcript:
    """Words in the order of the file, and what was wrong with it."""

    words: list[Word]
    problems: Problems


def read_transcript(path: Path) -> Transcript:
    """Read a transcript by its suffix: .srt, .vtt, .json (Whisper, WhisperX) or .jsonl (a word each line).

    What is wrong with single lines is counted and named; the rest is read.

    Raises:
        SourceError: the file cannot be read, is of another kind, or not one word can be found in it.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise SourceError(f"{path}: not a transcript; these are {', '.join(SUFFIXES)}")
    problems = Problems()
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_BYTES:
            raise SourceError(
                f"{path}: {size_bytes} bytes are too many for a transcript (at most {MAX_BYTES})"
            )
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        if kind == ".json":
            words = whisper_words(json.loads(text), str(path), problems)
        else:
            read = line_words if kind == ".jsonl" else cue_words
            words = read(text.splitlines(), str(path), problems)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not a transcript of Whisper or WhisperX ({error})") from error
    if not words:
        found = ", ".join(f"{count} times {kind}" for kind, count in problems.counts.items())
        raise SourceError(f"{path}: not one word in it ({found or 'it is empty'})")
    return Transcript(words, problems)


def write_words(words: list[Word], path: Path) -> None:
    """Write words as JSON lines that read_transcript reads."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        for word in words:
            line = {"start": round(word.start_s, 3), "end": round(word.end_s, 3), "word": word.text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    partial.replace(path)
