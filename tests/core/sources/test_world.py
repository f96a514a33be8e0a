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

import numpy as np
from svlm_core.sources.world import WorldSource
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds


def test_the_source_shows_the_world_of_its_seed_at_two_frames_a_second():
    source = WorldSource(7, seconds=3)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [k * 500_000_000 for k in range(6)]
    assert (source.name, source.fps, source.frames_total, source.live) == ("world://7", 2.0, 6, False)
    world, renderer = seconds(7), Renderer(7)
    truth = np.concatenate([renderer.frames(next(world)) for _ in range(3)])
    np.testing.assert_array_equal([frame.rgb for frame in frames], truth)


def test_without_a_length_it_goes_on_until_it_is_closed():
    source = WorldSource(0)
    assert source.frames_total is None
    seen = 0
    for _ in source:
        seen += 1
        if seen == 50:
            source.close()
    assert seen == 50
