"""`python -m svlm_core.cli`, for where the `svlm` script is not on the path."""

import sys

from svlm_core.cli.main import main

sys.exit(main())
