"""What a gate may conclude from its own memory about winners that other gates have seen."""
