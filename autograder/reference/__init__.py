"""The course's PyTorch models, one file per idea. The book shows them, the checks trust them."""
