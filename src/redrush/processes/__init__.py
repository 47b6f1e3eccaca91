"""Child processes: how they are started, watched, pinned to a core, asked for their last words, and ended with us."""
