"""An in-memory log for the schedules and the interleaving search, where files would only slow things down."""

import re


class MemoryLog:
    """A list of strings that can be opened, written to and read back."""

    def __init__(self):
        self.texts = []

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def write(self, text):
        self.texts.append(text if isinstance(text, str) else bytes(text).decode())

    @property
    def counts(self):
        """(count on line one, count on line three) of each entry, in order."""
        numbers = [int(n) for n in re.findall(r"[Cc]ount (?:to|is) (\d+)", "".join(self.texts))]
        return list(zip(numbers[::2], numbers[1::2], strict=True))
