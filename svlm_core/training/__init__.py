"""Supervised fine-tuning on the same token stream that streaming uses."""
