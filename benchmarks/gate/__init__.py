"""Measuring and judging: paired duels, saved runs and peak memory, as a pytest plugin on top of pytest-benchmark.

`evalue` holds the statistics, `timing` the stopwatch; `duel` times two callables in pairs and answers questions about
their ratio, `judge` asks the questions and puts the answers in words; `memory` weighs a function in a fresh process,
`machine` says where a run was made, `saved` reads earlier runs, and `report` shows it all. `plugin`, `session` and
`fixtures` tie these to pytest, which the others know nothing of; and nothing here knows a case.
"""
