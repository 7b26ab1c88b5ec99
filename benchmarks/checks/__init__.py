"""Comparisons of results that are too long for a benchmark module."""
