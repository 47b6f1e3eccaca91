"""Taking part from Python: a client that keeps the client policy. See `redrush.client.participant`."""
