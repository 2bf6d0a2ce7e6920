"""Data made by rules, so that the truth about every example is known. One file for each kind; numpy and torch alone."""
