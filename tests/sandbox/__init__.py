"""Attacks on the sandbox, in a place that mimics a Space and where a success cannot hurt the machine.

`make test` runs a spread of them; all of them, every honest snippet and the long fuzz run with ML_INTERN_SANDBOX=whole.
"""

import os

WHOLE = os.environ.get("ML_INTERN_SANDBOX") == "whole"
