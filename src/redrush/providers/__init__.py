"""Adapters of `redrush.ports.provider`: each speaks to one kind of provider and decides nothing."""
