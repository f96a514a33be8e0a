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
