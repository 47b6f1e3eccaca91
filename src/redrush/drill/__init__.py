"""Rehearsal on real processes: the crowd, the demo, the benchmark, the report."""
