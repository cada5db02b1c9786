"""Finite-state machines: decision rules, learning from logs and by queries, graphs."""
