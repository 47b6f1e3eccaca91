"""Campaigns and keys: what is fixed before the opening."""
