"""Metrics and clocks: read from plain integers when asked, so that being watched costs a claim nothing."""
