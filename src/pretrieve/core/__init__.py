"""Floor 0: types, randomness, files, errors, options; the standard library and NumPy only."""
