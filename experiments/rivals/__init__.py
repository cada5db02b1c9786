"""Learners of the crossing by other means, to measure ours against; each needs an extra of its own."""
