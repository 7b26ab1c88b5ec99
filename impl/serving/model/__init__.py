"""The model: weights, precisions, snapshots, the transformer, its int8 kernel, and the cores that run it."""
