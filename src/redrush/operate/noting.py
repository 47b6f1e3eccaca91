"""What an operator changes is written down before it is done, and not before it is sure that nothing refuses it."""

from collections.abc import Callable

Noting = Callable[[], object] | None
"""Writes down what is being done: called once nothing refuses it, before it is done; what it raises stops it. It may be
called in a thread. None: nobody keeps a log of it."""
