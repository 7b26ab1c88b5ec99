"""`python -m benchmarks.gate.compare.bisect`."""

import sys

from .program import main

sys.exit(main())
