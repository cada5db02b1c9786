"""One file per question: conditions, seeds, expected result."""
