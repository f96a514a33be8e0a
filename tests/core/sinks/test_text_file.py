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

import sys

import pytest
from svlm_core.errors import SvlmError
from svlm_core.sinks.text_file import TextFile


def test_what_was_written_is_in_the_file_before_it_is_closed(tmp_path):
    file = TextFile(tmp_path / "a.txt")
    assert file.append("one é\n") == 0
    at = file.append("two\n")
    file.overwrite(at, "TWO")
    file.append("three\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one é\nTWO\nthree\n"
    file.close()
    file.close()


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(SvlmError, match=r"no/a\.txt: cannot be written \(No such file or directory\)"):
        TextFile(tmp_path / "no" / "a.txt")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_a_full_disk_is_named():
    file = TextFile("/dev/full")
    with pytest.raises(SvlmError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        file.append("x")
    file.close()
