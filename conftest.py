"""Loads the gate. Everything else lives beside what it serves."""

pytest_plugins = ["benchmarks.gate.plugin", "pytester"]
