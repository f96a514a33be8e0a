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

"""`svlm world render | bag`: the synthetic world on disk, and its truth."""

from __future__ import annotations

import argparse
from pathlib import Path
import sys
from typing import Any

from svlm_core.world.bag import IMAGES, STORAGES, TOPIC, TRUTH, write_bag
from svlm_core.world.clip import write_clip
from tqdm import tqdm


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "world",
        help="make clips and bags of the synthetic world, with their truth",
        description="The synthetic world on disk, with its truth beside it. docs/world.md has the grammar.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    render = actions.add_parser(
        "render",
        help="write a clip and its truth",
        description="Write a video of the world and, beside it, the truth as JSON lines: second, sentence "
        "(null for silence), kind (seen now, motion, memory, silence). docs/world.md has the grammar.",
    )
    _add_what(render)
    render.add_argument(
        "--out", type=Path, required=True, metavar="CLIP.mp4", help="the truth goes to CLIP.jsonl"
    )
    render.set_defaults(run=run_render)
    bag = actions.add_parser(
        "bag",
        help="write a ROS 2 bag and its truth, without ROS",
        description=f"Write a rosbag2 folder that holds the world as the image topic {TOPIC}, and in it "
        f"{TRUTH}, one JSON object a second. Equal seeds give equal stamps and pictures, whenever the bag is "
        "made. Try it: svlm world bag --seed 1000007 --seconds 120 --out drive, then "
        f"svlm eval bag drive --truth drive/{TRUTH} --out report",
    )
    _add_what(bag)
    bag.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="must not exist yet")
    bag.add_argument(
        "--storage", choices=STORAGES, default=STORAGES[0], help="file format (default: %(default)s)"
    )
    bag.add_argument(
        "--images",
        choices=IMAGES,
        default=IMAGES[0],
        help="raw: sensor_msgs/Image; png (loses nothing) and jpeg: sensor_msgs/CompressedImage on "
        f"{TOPIC}/compressed (default: %(default)s)",
    )
    bag.set_defaults(run=run_bag)


def run_render(options: argparse.Namespace) -> int:
    """Render a clip."""
    with _bar(options) as bar:
        truth = write_clip(options.seed, options.seconds, options.out, bar.update)
    print(f"{options.out}, {truth}")
    return 0


def run_bag(options: argparse.Namespace) -> int:
    """Write a bag."""
    with _bar(options) as bar:
        truth = write_bag(
            options.seed, options.seconds, options.out, options.storage, options.images, bar.update
        )
    print(f"{options.out}, {truth}")
    return 0


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, required=True, help="which world; from 1000000 on, for evaluation only"
    )
    parser.add_argument("--seconds", type=int, required=True, help="length")


def _bar(options: argparse.Namespace) -> tqdm[Any]:
    return tqdm(total=options.seconds, unit="s", desc=options.out.name, file=sys.stderr)
