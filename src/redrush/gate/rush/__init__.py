"""Kinds of rush: one class each, whose `serve` shows the whole order in which a claim is checked."""
