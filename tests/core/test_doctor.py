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

from __future__ import annotations

import subprocess
import sys


def test_the_doctor_can_say_that_torch_is_missing() -> None:
    """No model runs without torch; this must."""
    check = (
        "import sys; sys.modules['torch'] = sys.modules['rclpy'] = None\n"
        "from svlm_core.cli.main import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stderr) == (0, "")
    report = {line.split()[1]: line for line in ended.stdout.splitlines()}
    assert report["torch"].startswith("no")
    assert report["torch"].endswith("no model runs here: pip install 'svlm_ros[model]'")
    assert report["cuda"].endswith("cannot be looked for without torch")
    assert report["rclpy"].startswith("no")
    assert report["python"].startswith("yes")
