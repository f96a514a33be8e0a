"""Vision-language models behind the few operations that streaming and training need.

The packages this needs are an extra of the installation: a robot that leaves the model to another machine
does without. Whoever imports anything from here without them learns in one line what to install.
"""

from importlib.util import find_spec

from svlm_core.errors import MissingPackageError

_missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
if _missing:
    raise MissingPackageError(
        f"running a model here needs {' and '.join(_missing)}: pip install 'svlm_ros[model]'"
    )
