"""Wait for what another thread or process does: a test that waits in vain fails, and does not hang."""

import time


def wait_until(condition, seconds=30):
    """Poll until `condition()` is true.

    Raises:
        AssertionError: It was not within that many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.005)
