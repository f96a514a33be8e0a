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

"""Vision-language models behind the few operations that streaming and training need.

The packages this needs are an extra of the installation: a robot that leaves the model to another machine
does without. Whoever imports anything from here without them learns in one line what to install.
"""

from importlib import import_module

from svlm_core.errors import MissingPackageError

for _name in ("torch", "transformers"):
    try:
        import_module(_name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"running a model here needs {error.name}: pip install 'svlm_ros[model]'"
        ) from error
