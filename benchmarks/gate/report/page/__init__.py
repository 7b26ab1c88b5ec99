"""The page of a run: one HTML file, made of the document that `--gate-json` writes and of nothing else."""
