"""Time and memory, without pytest: batches, duels, bets, peak memory, the machine's description."""
