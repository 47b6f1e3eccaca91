"""What became of the claims of a round."""

import msgspec


class RoundCounts(msgspec.Struct):
    """Answers so far by outcome: plain integers, read by the metrics."""

    granted: int = 0
    repeat: int = 0
    missed: int = 0
    empty: int = 0
    not_open: int = 0
    closed: int = 0
    not_eligible: int = 0
    held_out: int = 0
    limit: int = 0
    clock_in_doubt: int = 0
    busy: int = 0
    """Refused because there was no place to wait in, or the wait was too long."""
    batches: int = 0
    """Of claims, decided; no answers."""

    @property
    def answers(self) -> int:
        """How many claims were answered."""
        answered: int = sum(msgspec.structs.astuple(self)) - self.batches
        return answered
