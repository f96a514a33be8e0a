"""`svlm eval world`: hours of an unseen world against its truth."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from svlm_core.cli.settings import add_model_options, load
from svlm_core.errors import ConfigError
from svlm_core.world import FIRST_EVALUATION_SEED


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("eval", help="measure a model against truth", description="Evaluations.")
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    world = actions.add_parser(
        "world",
        help="accuracy and cost over hours of the synthetic world",
        description="Stream an unseen world, recorded-source speed, and compare every second with its truth. "
        "Ctrl-C ends early and keeps what was measured.",
    )
    world.add_argument(
        "--seed", type=int, default=FIRST_EVALUATION_SEED, help="which world (default: %(default)s)"
    )
    world.add_argument("--seconds", type=int, default=7200, help="length (default: %(default)s)")
    world.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    add_model_options(world)
    world.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate; prints the figures, and writes them to --json."""
    if options.seed < FIRST_EVALUATION_SEED:
        raise ConfigError(f"--seed {options.seed}: seeds below {FIRST_EVALUATION_SEED} are for training only")
    if options.seconds < 1:
        raise ConfigError(f"--seconds must be at least 1, got {options.seconds}")
    if options.json:
        _write(options.json, "a", "")  # a name that cannot be written is reported before the hours
    model, config = load(options)
    from svlm_core.evaluation.world import evaluate_world

    with tqdm(total=options.seconds, unit="s", desc=f"world {options.seed}", file=sys.stderr) as bar:
        figures = evaluate_world(model, config, options.seed, options.seconds, bar)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        _write(options.json, "w", text + "\n")
    return 0


def _write(path: Path, mode: str, text: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written ({error.strerror})") from error
