"""Streaming vision-language commentary: everything that knows nothing of ROS."""
