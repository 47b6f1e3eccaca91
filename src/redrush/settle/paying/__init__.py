"""Bills with providers: made, started, asked for, told, compared. Never in a gate, and never in the way of a claim."""
