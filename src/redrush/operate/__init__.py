"""What operators' commands do: they ask a running server or control role, or act on the files where none runs.

Such a command mends and copies what an adapter has written, so it may import adapters; nothing here serves a rush.
"""
