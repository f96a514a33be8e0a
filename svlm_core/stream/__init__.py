"""From chunks of frames to words: token stream, positions, session, events."""
