"""A provider of our own, to try everything against: its bank, and the adapters that speak to it."""
