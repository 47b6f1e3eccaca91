"""What operators may set, in which order settings win, and rules that set them."""
