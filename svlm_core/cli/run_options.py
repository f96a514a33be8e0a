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

"""Options that all benchmarks share, and the ends of their runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

from svlm_core.chat.client import ChatClient
from svlm_core.chat.cost import Cost
from svlm_core.chat.endpoint import Endpoint, KEY_VARIABLE
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.cli.settings import add_model_options, load
from svlm_core.errors import ConfigError
from svlm_core.evaluation.runs.exclusions import Excluded
from svlm_core.evaluation.runs.provenance import file_hash, tree_hash
from svlm_core.evaluation.runs.records import AUTO, local_rank, Record, Records, Shard

if TYPE_CHECKING:
    from svlm_core.config import StreamConfig
    from svlm_core.model.adapter import StreamModel

MAX_EXCLUDED = 0.05
_REPLIES = "replies"  # folder of cached replies in a run's folder


def add_run_options(parser: argparse.ArgumentParser, data: str) -> None:
    """DATA, --videos, --out, --shard and what else every benchmark has, then the model's."""
    parser.add_argument("data", type=Path, metavar="DATA", help=data)
    parser.add_argument(
        "--videos", type=Path, default=Path(), metavar="DIR", help="folder of the videos (default: this one)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="made if it does not exist; the same command goes on where an earlier one ended, however it did",
    )
    parser.add_argument(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="do this part of the videos; all shards share --out, and the last to end writes the figures, "
        "the same as one process would. auto takes the rank from torchrun, accelerate launch or SLURM",
    )
    parser.add_argument(
        "--max-excluded",
        type=float,
        default=MAX_EXCLUDED,
        metavar="SHARE",
        help="exit with 1 when a larger share of the items is in no figure (default: %(default)s)",
    )
    parser.add_argument(
        "--retry-excluded", action="store_true", help="try again what an earlier run excluded"
    )
    parser.add_argument(
        "--bootstrap-seed", type=int, default=0, metavar="N", help="of the intervals (default: %(default)s)"
    )
    add_model_options(parser)


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """--judge-url and what belongs to asking an endpoint."""
    group = parser.add_argument_group("judge", "any endpoint that speaks OpenAI's chat completions over HTTP")
    group.add_argument("--judge-url", metavar="URL", help="for example http://localhost:8000/v1")
    group.add_argument("--judge-model", default="", metavar="NAME", help="its name there")
    group.add_argument(
        "--key-variable",
        default=KEY_VARIABLE,
        metavar="NAME",
        help="environment variable that holds the key (default: %(default)s)",
    )
    group.add_argument(
        "--requests-per-s",
        type=float,
        default=4.0,
        metavar="X",
        help="0 sets no limit (default: %(default)s)",
    )
    group.add_argument("--timeout-s", type=float, default=60.0, metavar="X", help="(default: %(default)s)")
    group.add_argument(
        "--attempts", type=int, default=4, metavar="N", help="of one request, at most (default: %(default)s)"
    )
    group.add_argument(
        "--workers", type=int, default=8, metavar="N", help="comparisons at a time (default: %(default)s)"
    )
    group.add_argument("--price-in", type=float, metavar="X", help="money for a million tokens in")
    group.add_argument("--price-out", type=float, metavar="X", help="money for a million tokens out")
    group.add_argument("--yes", action="store_true", help="go on after the cost has been shown")


def endpoint(options: argparse.Namespace, max_tokens: int, url: str = "", model: str = "") -> Endpoint:
    """The endpoint that the options describe."""
    if not (url or options.judge_url):
        raise ConfigError("--judge-url is missing: which endpoint shall judge?")
    return Endpoint(
        url or options.judge_url,
        model or options.judge_model,
        options.key_variable,
        options.requests_per_s,
        options.timeout_s,
        options.attempts,
        max_tokens,
        seed=0,
    )


def client(options: argparse.Namespace, asked: Endpoint) -> ChatClient:
    """Asks an endpoint; replies are kept in the run's folder."""
    return ChatClient(asked, ReplyCache(options.out / _REPLIES))


def confirm(cost: Cost, yes: bool) -> None:
    """Show what the endpoint will cost, and ask whether to go on.

    Raises:
        ConfigError: no.
    """
    if not cost.requests:
        return
    print(f"The endpoint will be asked: {cost}.", file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nothing has been asked yet; add --yes to go on")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing has been asked")


def described(options: argparse.Namespace, benchmark: str) -> dict[str, Any]:
    """What decides the figures, as far as every benchmark has it."""
    return {
        "benchmark": benchmark,
        "data": options.data.name,
        "data_sha256": file_hash(options.data),
        "bootstrap_seed": options.bootstrap_seed,
    }


def loaded(options: argparse.Namespace) -> tuple[StreamModel, StreamConfig, dict[str, Any]]:
    """The model, its settings, and what a run says about both."""
    model, config = load(options)
    about = {
        "model": model.name,
        "model_sha256": tree_hash(Path(options.model)) if options.model else "",
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantize": options.quantize,
        "policy": config.policy,
        "settings": asdict(config),
    }
    return model, config, about


def keep_excluded(records: Records, excluded: Sequence[Excluded]) -> None:
    """Record what no shard can do; whoever comes first does it."""
    known = records.read()
    for item in excluded:
        if item.id not in known:
            records.append(item.record())


def conclude(
    options: argparse.Namespace,
    run: Mapping[str, Any],
    figures: Mapping[str, Any],
    records: Mapping[str, Record],
    items: int,
    chunk_ms: Sequence[float],
) -> int:
    """Write the figures if every item has a record; print them.

    Raises:
        TooManyExcludedError: after everything is written.
    """
    if len(records) < items:
        print(f"{len(records)} of {items} items are done; the figures come with the last shard")
        return 0
    from svlm_core.evaluation.runs.figures import rows
    from svlm_core.evaluation.runs.outcome import check_excluded, finish, REPORT

    result = finish(options.out, run, figures, records, chunk_ms)
    for row in rows(result["figures"]):
        count = "" if row.n is None else f"  ({row.n})"
        print(f"{row.table}: {row.name}: {row.label}{count}")
    accounting = result["accounting"]
    print(
        f"{accounting['counted']} of {accounting['items']} items counted, {accounting['excluded']} excluded"
    )
    print(options.out / REPORT)
    check_excluded(result, options.max_excluded)
    return 0


def shard(options: argparse.Namespace) -> Shard:
    """The part of the work to do here."""
    if not 0 <= options.max_excluded <= 1:
        raise ConfigError(f"--max-excluded must lie between 0 and 1, got {options.max_excluded}")
    part = Shard.parse(options.shard)
    if options.shard == AUTO and options.device == "cuda":
        import torch

        gpus = max(1, torch.cuda.device_count())  # some launchers show each rank only its own
        options.device = f"cuda:{local_rank() % gpus}"
    return part
