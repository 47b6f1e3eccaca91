"""Adapters of `ports/notifier.py`: a webhook, mail, and whatever apprise knows."""
