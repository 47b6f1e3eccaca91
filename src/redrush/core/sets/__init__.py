"""A round's slots over several sets: who has which, when they move, who is primary."""
