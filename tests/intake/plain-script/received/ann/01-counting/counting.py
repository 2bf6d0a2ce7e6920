import re


def count_words(text):
    """How often each word occurs, as a dictionary."""
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return counts


class Vocabulary:
    """Numbers for words, in the order in which they first occur."""

    def __init__(self, text):
        self.words = list(dict.fromkeys(text.split()))

    def number(self, word):
        """The number of a word."""
        return self.words.index(word)


def encode(vocabulary, text):
    """The numbers of a text's words."""
    return [vocabulary.number(word) for word in text.split()]


def top_words(text, n):
    """The n most frequent words."""
    counts = count_words(text)
    return sorted(counts, key=counts.get, reverse=True)[:n]
