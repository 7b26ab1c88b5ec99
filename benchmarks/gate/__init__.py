"""A statistical gate for benchmarks: paired duels, saved runs and peak memory, as a plugin on top of pytest-benchmark.

The packages form a stack, and none imports from one above it:

- `measure`: time and memory, without pytest
- `compare`: other revisions, their environments, and saved runs
- `judge`: the rules; they return data
- `report`: the words, tables, JSON and annotations for that data
- `plugin`: pytest's hooks, options and fixtures
- `calibration`: the error rates of all this, measured

Nothing in here knows a case.
"""
