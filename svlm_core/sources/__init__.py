"""Where frames come from: videos, folders, cameras, the synthetic world."""
