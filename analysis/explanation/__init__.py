"""Which rule explains the talk: candidates, self-checks, selection, verdict, sentence."""
