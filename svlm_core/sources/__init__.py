"""Where frames come from: videos, folders, bags, cameras, the synthetic world."""
