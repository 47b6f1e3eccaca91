"""redrush: the engine for events where, at an exact second, millions rush for a fixed amount."""

__version__ = "0.1.0"
