"""Who is let in under load, how fast, and how clients are asked to behave."""
