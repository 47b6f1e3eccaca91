"""The HTTP/1.1 server of all roles: bytes in, answers out. It stands on the core alone and knows no rush."""
