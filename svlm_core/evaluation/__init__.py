"""How good the commentary is: streams with a known truth, and their scores."""
