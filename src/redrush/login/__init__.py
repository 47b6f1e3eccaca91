"""Logging in by OpenID Connect: a process of its own, which signs tickets with a login key and knows nothing else."""
