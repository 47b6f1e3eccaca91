"""Pure rules: no I/O, no clock, no randomness of its own. Time, seeds and storage are handed in."""
