"""Floor 3: judging: benchmarks, significance, the label-free probe, reports."""
