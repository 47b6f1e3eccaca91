"""Queries about what is recorded, served by a process of its own: it may be slow, or die, and no claim notices."""
