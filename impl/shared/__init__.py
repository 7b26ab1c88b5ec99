"""What several cases share; no case imports another."""
