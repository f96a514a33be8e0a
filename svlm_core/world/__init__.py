"""A small synthetic world whose camera stream has exact ground truth. The grammar is in docs/world.md."""

FIRST_EVALUATION_SEED = 1_000_000  # seeds below it are for training only; from it on, for evaluation only
