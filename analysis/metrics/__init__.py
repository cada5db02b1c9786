"""Figures of a log: success, failures, tokens, entropies, diversity, information, over seeds."""
