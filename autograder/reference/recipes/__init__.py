"""Trainings too long for a page of the book: one command each, seeded, with the log that a chapter reads."""
