"""Telling winners: made from the log as it is recorded, sent at the pace of whoever carries it."""
