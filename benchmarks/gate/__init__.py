"""Measuring and judging: paired duels, saved runs, peak memory, as a pytest plugin on top of pytest-benchmark.

`evalue` holds the statistics, `duel` times two callables in pairs and answers questions about their ratio, `memory` weighs
a function in a fresh process, `machine` says where a run was made, `saved` reads earlier runs, `report` puts it all in words,
and `plugin` ties them to pytest. Nothing here knows a case, and only `plugin` and the fixtures it lends know pytest.
"""
