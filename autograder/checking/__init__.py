"""The language that tasks are written in, and what runs a task here or across a wire."""
