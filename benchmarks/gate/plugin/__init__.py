"""The pytest plugin: `-p benchmarks.gate.plugin`. Settings, hooks, fixtures, and the self-checks of a comparison."""

pytest_plugins = [
    f"{__name__}.{module}"
    for module in (
        "options",
        "hooks",
        "overview",
        "termination",
        "fixtures",
        "against",
        "against_memory",
        "against_start",
        "profiling",
    )
]
