"""The networks: an actor-critic whose middle, the torso, is chosen by name."""
