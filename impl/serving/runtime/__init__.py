"""Between HTTP and the model: readiness, deadlines, batching, the answer cache, metrics."""
