"""Other people's solutions, measured in the same run."""
