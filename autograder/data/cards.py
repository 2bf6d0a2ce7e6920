"""Data cards: what a dataset is, whose it is, what one may do with it, and how much of it there is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from autograder.data.sources import SOURCES, Source


@dataclass(frozen=True)
class Card:
    """What is known about a dataset.

    Attributes:
        title: what it is, in a few words.
        origin: who made it, and where it was published.
        license: of the data, which is not that of the package that brings them.
        size: from the unit to how many there are.
        note: what a reader of the data should know.
        source: the package that brings it, its version, and the files with their sha256; None for a stand-in.
    """

    title: str
    origin: str
    license: str
    size: Mapping[str, int]
    note: str = ""
    source: Source | None = None


PUBLIC_DOMAIN = "public domain"
NOT_STATED = "not stated: read at run time, never copied"

_VERSES = "The documents are the 1,189 chapters with 31,102 verses, one to a line."

_CARDS = {
    "wikipedia": Card(
        "Leads of Wikipedia's vital articles, with topics",
        "The authors of the English Wikipedia, https://en.wikipedia.org/wiki/Wikipedia:Vital_articles/Level/4; each "
        "article has its title there.",
        "CC BY-SA 4.0: read at run time, attributed, never copied",
        {"documents": 10_033, "words": 775_848, "bytes": 4_885_535},
        "The labels are 11 topics; 1,000 articles have none.",
    ),
    "state_of_the_union": Card(
        "Addresses of presidents of the United States, 1790–2026",
        "The American Presidency Project, University of California, Santa Barbara, https://www.presidency.ucsb.edu/",
        PUBLIC_DOMAIN,
        {"documents": 249, "words": 2_019_452, "bytes": 12_185_751},
        "Some addresses were given in parts, or spoken in short and sent in full: a split keeps those together. "
        "Neighboring years repeat whole passages.",
    ),
    "king_james": Card(
        "The King James Version of the Bible",
        "47 translators, London 1611, in the spelling of 1769",
        PUBLIC_DOMAIN,
        {"documents": 1_189, "words": 789_642, "bytes": 4_141_399},
        _VERSES,
    ),
    "basic_english": Card(
        "The Bible in Basic English",
        "S. H. Hooke and others, Cambridge 1949, after C. K. Ogden's Basic English",
        PUBLIC_DOMAIN,
        {"documents": 1_189, "words": 840_284, "bytes": 4_174_835},
        _VERSES + " Few words, so that very small models can learn it. The translators left 16 verses out: [].",
    ),
    "french_pairs": Card(
        "The verses of the Bible in Basic English and in French",
        "As basic_english; Louis Segond's translation as revised in 1910",
        PUBLIC_DOMAIN,
        {"pairs": 31_102, "English words": 840_284, "French words": 725_518},
        "A split holds out whole chapters, the same as in king_james and basic_english. 9,655 pairs have at most 20 "
        "words on either side.",
    ),
    "glove": Card(
        "GloVe word vectors of 6 billion words, 50 wide",
        "Pennington, Socher and Manning 2014, https://nlp.stanford.edu/projects/glove/",
        "PDDL 1.0",
        {"words": 400_000, "numbers a word": 50},
        "All in lower case, the most frequent first; learned from Wikipedia of 2014 and Gigaword 5.",
    ),
    "minilm": Card(
        "all-MiniLM-L6-v2, a BERT encoder: 6 layers, 384 wide, 12 heads",
        "Wang et al. 2020; sentence-transformers, https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        "Apache 2.0",
        {"files": 4, "bytes": 91_566_743},
        "WordPiece with 30,522 pieces. It was tuned to compare sentences and has no head for masked words. The "
        "package's files have the checksums of the published ones.",
    ),
    "smollm2": Card(
        "SmolLM2-135M-Instruct, a decoder: 30 layers, 576 wide, 9 heads",
        "Allal et al. 2025, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache 2.0",
        {"files": 1, "bytes": 98_362_432},
        "A GGUF file with four bits for most weights and 3 heads for keys and values; queries and keys are stored for "
        "interleaved rotary pairs. The package says of its file that it is a full copy of the published one.",
    ),
    "similarity": Card(
        "WordSim-353, SimLex-999 and Google's analogies",
        "Finkelstein et al. 2002; Hill, Reichart and Korhonen 2015; Mikolov et al. 2013",
        NOT_STATED,
        {"wordsim353 pairs": 353, "simlex999 pairs": 999, "analogies": 19_544},
        "WordSim asks how related two words are, SimLex how alike what they name is.",
    ),
    "digits": Card(
        "Handwritten digits, 8 × 8",
        "Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80",
        "BSD 3-Clause",
        {"images": 1_797, "pixels high": 8, "pixels wide": 8},
        "The test part of the original collection, which is CC BY 4.0 there.",
    ),
    "mnist": Card(
        "Handwritten digits, 28 × 28",
        "LeCun, Cortes and Burges 1998, from what NIST collected",
        "BSD 3-Clause",
        {"images": 5_000, "pixels high": 28, "pixels wide": 28},
        "500 of each digit out of 60,000, sorted by digit.",
    ),
    "movie_reviews": Card(
        "Movie reviews, half of them positive",
        "Maas et al. 2011 (IMDb); Pang and Lee 2005 (Rotten Tomatoes)",
        NOT_STATED,
        {"documents": 33_530, "words": 5_966_242, "bytes": 33_595_919},
        "25,000 are long, 8,530 one sentence each in lower case.",
    ),
}

CARDS = {name: replace(_CARDS[name], source=source) for name, source in SOURCES.items()}
"""The cards of all datasets."""
