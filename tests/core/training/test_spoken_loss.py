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

"""The loss under FSDP2: two processes that hold half of each weight learn what one process learns."""

from __future__ import annotations

from pathlib import Path
import sys

import pytest
from random_models import write_random_model
from svlm_core.config import StreamConfig
from svlm_core.model.load import load_model
from svlm_core.training.clip import Renderer
from svlm_core.training.finetune_recipe import WorldData
from svlm_core.training.packing import pack
from svlm_core.training.spoken_loss import batch, SpokenLoss
from svlm_core.training.world_clips import WorldClips
import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

STEPS = 20
CONFIG = StreamConfig(text_sink_tokens=6, text_window_tokens=20, min_visual_tokens=4, max_visual_tokens=4)


def losses(folder: Path, rank: int, processes: int) -> list[float]:
    """Mean loss of each step; every step has two rows, whoever computes them."""
    model = load_model(str(folder))
    loss = SpokenLoss(model)
    if processes > 1:
        for layer in model.hf.model.language_model.layers:
            fully_shard(layer)
        fully_shard(loss)
        assert all(isinstance(parameter, DTensor) for parameter in loss.parameters())
    optimizer = torch.optim.AdamW(loss.parameters(), lr=1e-3)
    clips, renderer = WorldClips(WorldData(2 * STEPS, 4, 2, 20)), Renderer(model, CONFIG)
    history = []
    for step in range(STEPS):
        mine = range(rank, 2, processes)
        shares = []
        for row in mine:
            share = loss(**batch(pack([renderer.render(clips[2 * step + row])])))["loss"] / len(mine)
            share.backward()
            shares.append(share.detach())
        total = torch.stack(shares).sum()
        if processes > 1:
            distributed.all_reduce(total)
        optimizer.step()
        optimizer.zero_grad()
        history.append(float(total) / processes)
    return history


def work(rank: int, folder: Path, rendezvous: str, results: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    history = losses(folder, rank, 2)
    if rank == 0:
        Path(results).write_text(" ".join(map(repr, history)))
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="gloo over files")
def test_fsdp_of_two_processes_equals_one(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model")
    rendezvous, results = f"file://{tmp_path / 'rendezvous'}", tmp_path / "losses"
    torch.multiprocessing.spawn(work, (folder, rendezvous, str(results)), nprocs=2)
    sharded = [float(each) for each in results.read_text().split()]
    whole = losses(folder, 0, 1)
    assert whole[-1] < whole[0]
    assert sharded == pytest.approx(whole, abs=1e-4)
