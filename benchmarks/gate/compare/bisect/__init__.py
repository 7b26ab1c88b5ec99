"""Which commit made it slower: `search` chooses the commits, `history` and `probe` duel them, `program` reports."""
