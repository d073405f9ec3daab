"""Floor 2: encoders, heads, losses and the contract of objectives."""
