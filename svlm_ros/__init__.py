"""The ROS 2 nodes around svlm_core."""
