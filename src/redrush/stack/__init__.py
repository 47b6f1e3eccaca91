"""Real servers and roles as supervised children of one command, for laptops and tests."""
