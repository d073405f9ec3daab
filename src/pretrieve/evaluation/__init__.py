"""Floor 3: evaluation: benchmarks, significance, the label-free probe, reports."""
