"""Who follows whom, for packets that are for a sender's followers: known to somebody else, and asked for."""

from typing import Protocol

from redrush.errors import RedrushError


class FollowersAway(RedrushError):
    """Whether somebody follows somebody cannot be found out now. It may be asked again."""


class Followers(Protocol):
    """All adapters pass tests/conformance/test_followers.py. Lives on one event loop."""

    def knows(self, sender: str, user: str) -> bool | None:
        """Return whether the user follows the sender, if that is known without waiting; None: ask."""

    async def follows(self, sender: str, user: str) -> bool:
        """Return whether the user follows the sender. Raises FollowersAway."""

    def close(self) -> None:
        """Let go of what was opened."""
