# %% [markdown]
# # Counting words
# 
# Before words get vectors, they get counted.

# %%
import re

from autograder import check, progress

# %% [markdown]
# ## Count the words
# 
# *5 minutes · difficulty ●○○*
# 
# Write `count_words`.

# %%
def count_words(text):
    """How often each word occurs, as a dictionary."""
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return counts

# %%
print(count_words("a rose is a rose"))

# %%
check("count_words")

# %% [markdown]
# ## Number the words
# 
# *10 minutes · difficulty ●●○*
# 
# Complete `Vocabulary` and write `encode`.

# %%
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

# %%
check("vocabulary")

# %% [markdown]
# ## The most frequent words
# 
# *5 minutes · difficulty ●○○*
# 
# Write `top_words`.

# %%
def top_words(text, n):
    """The n most frequent words."""
    counts = count_words(text)
    return sorted(counts, key=counts.get, reverse=True)[:n]

# %%
check("top_words")

# %% [markdown]
# ## Explain
# 
# *5 minutes · difficulty ●○○*
# 
# Why are counts so uneven?

# %% [markdown]
# Since a few words make up most of any text (Zipf), and most words occur once.

# %%
progress()

