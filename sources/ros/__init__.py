"""Recordings of ROS 1 and ROS 2: bags, and the events in their messages."""
