"""Adapters of `redrush.ports.store`."""
