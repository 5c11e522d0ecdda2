"""What `testbed bench` measures."""
