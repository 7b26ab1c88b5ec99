"""Prometheus metrics. Each application has its own registry, so that two can live in one process."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]


class Metrics:
    """The metrics of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Register the metrics; `waiting` returns the number of images in the queue."""
        self._registry = CollectorRegistry()
        self.requests = Counter("serving_requests", "Requests by outcome", ["outcome"], registry=self._registry)
        self.images = Counter("serving_images", "Images answered, by origin", ["origin"], registry=self._registry)
        self.batches = Histogram(
            "serving_batch_images",
            "Images in a forward pass",
            registry=self._registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self.seconds = Histogram(
            "serving_request_seconds",
            "From the request's arrival in the application to its answer",
            registry=self._registry,
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
        )
        depth = Gauge("serving_queue_images", "Images that wait", registry=self._registry)
        depth.set_function(waiting)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
