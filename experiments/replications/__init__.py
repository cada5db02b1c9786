"""Published results, run again: one file per paper."""
