"""Where events go: the terminal, text, JSONL and WebVTT files, annotated video."""
