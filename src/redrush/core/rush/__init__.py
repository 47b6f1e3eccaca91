"""A rush as rules: the campaign, its rounds and phases, what a claim ends as, and when."""
