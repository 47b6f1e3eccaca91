"""The one root of every exception that redrush raises on purpose.

An exception is a *fault* or a wrong use; an expected refusal of a claim is an outcome (`redrush.core.rush.outcomes`).
The text of each is one sentence that says where it happened and what to do, fit to be shown to an operator as it is.
"""

from typing import Final

INTERRUPTED: Final = 130
"""What a command ends with after Ctrl-C: as shells have it of what SIGINT has ended."""


class RedrushError(Exception):
    """Something that stops an operation. `exit_code` is what a command ends with: 1 failed, 2 wrong usage."""

    exit_code = 1


class ConfigError(RedrushError):
    """A campaign file, a data directory or an option is wrong; nothing was started or changed."""

    exit_code = 2


class NewerVersion(ConfigError):
    """A file was written by a newer redrush: it is whole, and that redrush reads it. Nothing is to be mended."""
