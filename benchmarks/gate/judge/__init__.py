"""The rules: questions for a duel, verdicts from its answers, what is missing. Data, not words."""
