"""The gate's own error rates, measured: `python -m benchmarks.gate.calibration`."""
