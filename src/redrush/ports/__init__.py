"""The Protocols that adapters fulfil. Nothing here does anything."""
