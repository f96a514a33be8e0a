"""The command line, `svlm VERB`: thin; each verb is a function elsewhere."""

from svlm_core.cli.main import main

__all__ = ["main"]
