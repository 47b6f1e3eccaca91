"""What stands in for a listener, or for a question, that nobody gave."""


def ignore(*_told: object) -> None:
    """Hear what is told, and do nothing: nobody asked to be told."""


def never() -> bool:
    """Answer that it is not so: nobody asked for it."""
    return False
