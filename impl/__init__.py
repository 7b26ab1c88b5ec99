"""Four cases, each a slow baseline beside the optimisations people try and the best version we can build."""

from .shared.processor import hold_to_level

hold_to_level()
