"""The pytest plugin: `-p benchmarks.gate.plugin`. Settings, hooks, fixtures, and the checks that a gated run adds."""

pytest_plugins = [f"{__name__}.{module}" for module in ("hooks", "fixtures", "against", "profiling")]
