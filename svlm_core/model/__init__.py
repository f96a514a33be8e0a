"""Vision-language models behind the few operations that streaming and training need."""
