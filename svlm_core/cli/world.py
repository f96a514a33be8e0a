"""`svlm world render`: a clip of the synthetic world and its truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from svlm_core.world.clip import write_clip


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "world", help="make clips of the synthetic world", description="The synthetic world."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    render = actions.add_parser(
        "render",
        help="write a clip and its truth",
        description="Write a video of the world and, beside it, the truth as JSON lines: second, sentence "
        "(null for silence), kind (seen now, motion, memory, silence). docs/world.md has the grammar.",
    )
    render.add_argument(
        "--seed", type=int, required=True, help="which world; from 1000000 on, for evaluation only"
    )
    render.add_argument("--seconds", type=int, required=True, help="length")
    render.add_argument(
        "--out", type=Path, required=True, metavar="CLIP.mp4", help="the truth goes to CLIP.jsonl"
    )
    render.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Render."""
    with tqdm(total=options.seconds, unit="s", desc=options.out.name, file=sys.stderr) as bar:
        truth = write_clip(options.seed, options.seconds, options.out, bar.update)
    print(f"{options.out}, {truth}")
    return 0
