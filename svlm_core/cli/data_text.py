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

"""`svlm data clean | anneal`: what a language model judges."""

from __future__ import annotations

import argparse
from collections import Counter
import json
from pathlib import Path
import sys
from typing import Any

from svlm_core.chat.client import ChatClient
from svlm_core.chat.endpoint import Endpoint, KEY_VARIABLE
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.cli.data_look import print_problems
from svlm_core.data.annealing import AnnealSettings, chosen
from svlm_core.data.cleaning import clean
from svlm_core.data.problems import BROKEN_SAMPLE, Problems
from svlm_core.data.seek_index import SampleFile, SampleWriter
from svlm_core.data.sentences import sentences
from svlm_core.data.transcript import read_transcript, write_words
from svlm_core.data.words import in_order
from svlm_core.errors import ConfigError, SourceError
from tqdm import tqdm

_CACHE = "answers"
_ATTEMPTS, _TIMEOUT_S = 5, 120.0


def add_clean(actions: Any) -> None:
    """Describe `svlm data clean`."""
    parser = actions.add_parser(
        "clean",
        help="have a language model keep, edit or delete each sentence of transcripts",
        description="Each sentence is judged by a language model, behind any server that speaks OpenAI's "
        f"chat completions (vLLM, llama.cpp, Ollama, OpenAI; its key, if it wants one, in ${KEY_VARIABLE}). "
        "What is left is written as JSON lines, to build from. Answers are kept in OUT/answers: stopped and "
        "started again, nothing is asked twice.",
    )
    parser.add_argument("transcripts", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="FILE's name, as .jsonl")
    parser.add_argument("--about", default="", help="what the videos are about, for the judge")
    _add_endpoint(parser, required=True)
    parser.set_defaults(run=run_clean)


def add_anneal(actions: Any) -> None:
    """Describe `svlm data anneal`."""
    parser = actions.add_parser(
        "anneal",
        help="choose the samples for the last stage of training",
        description="Choose samples with little silence, of whose sentences most are about what is seen at "
        "that moment. The latter is judged by a language model, as in svlm data clean.",
    )
    parser.add_argument("samples", type=Path, metavar="SAMPLES.jsonl")
    parser.add_argument("--out", type=Path, required=True, metavar="CHOSEN.jsonl")
    default = AnnealSettings()
    parser.add_argument(
        "--max-silence-s",
        type=float,
        default=default.max_silence_s,
        help="longest silence in a sample (default: %(default)s)",
    )
    parser.add_argument(
        "--min-live-share",
        type=float,
        default=default.min_live_share,
        help="share of sentences about what is seen now, 0 to 1; 0 asks nobody (default: %(default)s)",
    )
    _add_endpoint(parser, required=False)
    parser.set_defaults(run=run_anneal)


def _add_endpoint(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--endpoint", required=required, metavar="URL", help="for example http://localhost:8000/v1"
    )
    parser.add_argument("--judge", required=required, metavar="NAME", help="the model's name there")
    parser.add_argument(
        "--requests-per-minute", type=float, default=600.0, help="at most (default: %(default)s)"
    )


def _judge(options: argparse.Namespace, folder: Path) -> ChatClient:
    if not options.requests_per_minute > 0:
        raise ConfigError(f"--requests-per-minute must be above 0, got {options.requests_per_minute}")
    endpoint = Endpoint(
        options.endpoint,
        options.judge,
        requests_per_s=options.requests_per_minute / 60,
        timeout_s=_TIMEOUT_S,
        attempts=_ATTEMPTS,
    )
    return ChatClient(endpoint, ReplyCache(folder / _CACHE))


def run_clean(options: argparse.Namespace) -> int:
    """Clean transcripts, one after the other."""
    judge = _judge(options, options.out)
    counts: Counter[str] = Counter()
    problems = Problems()
    for path in options.transcripts:
        target = options.out / f"{path.stem}.jsonl"
        if target.resolve() == path.resolve():
            raise ConfigError(f"{path}: would be overwritten; choose another folder for --out")
        try:
            transcript = read_transcript(path)
        except SourceError as error:
            problems.add("a transcript that cannot be read", str(error))
            continue
        problems.merge(transcript.problems)
        said = sentences(in_order(transcript.words)[0])
        with tqdm(total=len(said), unit="sentence", desc=path.name, file=sys.stderr) as bar:
            cleaned = clean(said, options.about, judge, bar.update)
        write_words(cleaned.words, target)
        counts += cleaned.counts
    print(", ".join(f"{count} x {kind}" for kind, count in counts.items()) or "nothing to clean")
    print_problems(problems)
    return 0


def run_anneal(options: argparse.Namespace) -> int:
    """Choose samples."""
    settings = AnnealSettings(options.max_silence_s, options.min_live_share)
    if options.out.resolve() == options.samples.resolve():
        raise ConfigError(f"{options.out}: would be overwritten; name another file")
    samples = SampleFile(options.samples)
    given = options.endpoint and options.judge
    judge = _judge(options, options.out.parent) if given else None
    rejected: Counter[str] = Counter()
    problems = Problems()
    with (
        tqdm(total=len(samples), unit="sample", desc="anneal", file=sys.stderr) as bar,
        SampleWriter(options.out) as writer,
    ):
        each = samples.each(lambda _, error: problems.add(BROKEN_SAMPLE, str(error)))
        kept = 0
        for _, sample in chosen(_counted(each, bar), settings, judge, rejected):
            writer.write_line(sample.moved(samples.path.parent, options.out.parent).to_line())
            kept += 1
    print(json.dumps({"chosen": kept, "rejected": dict(rejected), "problems": problems.as_json()}, indent=1))
    return 0


def _counted(each: Any, bar: tqdm[Any]) -> Any:
    for item in each:
        yield item
        bar.update(1)
