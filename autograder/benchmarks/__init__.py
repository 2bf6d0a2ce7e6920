"""Races between the reference models and the libraries that the field trusts, each pair in the same run."""
