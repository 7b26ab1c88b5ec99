"""`python -m benchmarks.gate.calibration`."""

import sys

from .program import main

sys.exit(main())
