"""From dialogue logs (and, where one is at hand, a policy) to findings."""
