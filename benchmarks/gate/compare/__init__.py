"""What a run is compared with: another revision, saved runs."""
