"""One file per question: conditions, seeds, expected result."""

READING_ORDER = (
    "communication_gain", "channel_controls", "speaking_order", "vocabulary_size", "talk_length", "what_happens",
    "cross_play", "memory", "learning", "collapse", "priority_crossing", "line",
)  # fmt: skip
"""How the experiments are best read; those that are not named here follow."""
