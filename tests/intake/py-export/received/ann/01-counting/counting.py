#!/usr/bin/env python
# coding: utf-8

# # Counting words
# 
# Before words get vectors, they get counted.

# In[1]:


import re

from autograder import check, progress


# ## Count the words
# 
# *5 minutes · difficulty ●○○*
# 
# Write `count_words`.

# In[2]:


def count_words(text):
    """How often each word occurs, as a dictionary."""
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return counts


# In[3]:


print(count_words("a rose is a rose"))


# In[4]:


check("count_words")


# ## Number the words
# 
# *10 minutes · difficulty ●●○*
# 
# Complete `Vocabulary` and write `encode`.

# In[5]:


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


# In[6]:


check("vocabulary")


# ## The most frequent words
# 
# *5 minutes · difficulty ●○○*
# 
# Write `top_words`.

# In[7]:


def top_words(text, n):
    """The n most frequent words."""
    counts = count_words(text)
    return sorted(counts, key=counts.get, reverse=True)[:n]


# In[8]:


check("top_words")


# ## Explain
# 
# *5 minutes · difficulty ●○○*
# 
# Why are counts so uneven?

# Since a few words make up most of any text (Zipf), and most words occur once.

# In[9]:


progress()


