"""`make case NAME=mine`: the two places of a new case, from templates that pass."""
