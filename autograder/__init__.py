"""What a notebook imports: ``check``, ``hint`` and ``progress``."""
