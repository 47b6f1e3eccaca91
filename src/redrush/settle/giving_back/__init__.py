"""What nobody took of group packets goes back to who paid for them."""
