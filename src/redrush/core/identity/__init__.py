"""Who somebody is and what they won, as signed text."""
