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

"""Records of a run: torn lines, shards, and what was excluded."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.errors import ConfigError
from svlm_core.evaluation.runs.exclusions import account, Excluded, MISSING_VIDEO
from svlm_core.evaluation.runs.provenance import open_run
from svlm_core.evaluation.runs.records import local_rank, Records, Shard


@given(st.sets(st.text(max_size=4)), st.integers(1, 7))
def test_each_key_belongs_to_one_shard(keys: set[str], count: int) -> None:
    parts = [Shard(number, count).mine(keys) for number in range(1, count + 1)]
    assert sorted(key for part in parts for key in part) == sorted(keys)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard"):
        Shard.parse(text)


def test_the_launcher_says_which_shard() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert Shard.parse("auto", {"RANK": "3", "WORLD_SIZE": "4"}) == Shard(4, 4)
    assert Shard.parse("auto", {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}) == Shard(1, 2)
    with pytest.raises(ConfigError, match="auto"):
        Shard.parse("auto", {})
    assert local_rank({"LOCAL_RANK": "3", "RANK": "11"}) == 3, "which GPU of this machine"
    assert (local_rank({"SLURM_LOCALID": "1"}), local_rank({})) == (1, 0)


def test_a_torn_line_is_done_again(tmp_path: Path) -> None:
    records = Records(tmp_path, "judged", Shard())
    for name in "ab":
        records.append({"id": name, "score": 1})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    again = Records(tmp_path, "judged", Shard())
    assert list(again.read()) == ["a"]
    again.append({"id": "b", "score": 0})
    assert again.read()["b"] == {"id": "b", "score": 0}


def test_shards_merge_and_their_order_is_that_of_the_ids(tmp_path: Path) -> None:
    for number, name in ((2, "a"), (1, "c"), (2, "b")):
        Records(tmp_path, "answers", Shard(number, 2)).append({"id": name})
    assert list(Records(tmp_path, "answers", Shard(1, 2)).read()) == ["a", "b", "c"]


def test_excluded_items_are_counted_with_their_reasons_and_can_be_tried_again(tmp_path: Path) -> None:
    records = Records(tmp_path, "answers", Shard())
    records.append({"id": "a", "right": True})
    records.append(Excluded("b", MISSING_VIDEO, "b.mp4").record())
    assert account(records.read()) == {
        "items": 2,
        "counted": 1,
        "excluded": 1,
        "share_excluded": 0.5,
        "by_reason": {"missing video": 1},
        "list": [{"id": "b", "reason": "missing video", "details": "b.mp4"}],
    }
    records.forget_excluded()
    assert list(records.read()) == ["a"]


def test_another_run_does_not_go_on_here(tmp_path: Path) -> None:
    open_run(tmp_path, {"benchmark": "ovo", "settings": {"fps": 2.0}})
    open_run(tmp_path, {"benchmark": "ovo", "settings": {"fps": 2.0}})
    with pytest.raises(ConfigError, match=r"settings\.fps was 2\.0, is 4\.0"):
        open_run(tmp_path, {"benchmark": "ovo", "settings": {"fps": 4.0}})
