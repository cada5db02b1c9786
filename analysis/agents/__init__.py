"""Who can play: networks, machines, synthetic protocols, the optimal pair; cross-play."""
