"""Reports about topics: what is declared is counted again."""

import torch
from chances import margin

from autograder.data.generated.company import FILLERS
from autograder.data.generated.gazette import GAZETTE, REPORT_LENGTH, START, TOPICS, VOCABULARY, reports, topic_of_words

COUNT = 4_000


def test_a_report_has_one_noun_and_words_of_its_topic_alone() -> None:
    made = reports(COUNT, torch.Generator().manual_seed(3))
    assert made.ids.shape == (COUNT, REPORT_LENGTH)
    assert (made.ids[:, 0] == START).all()
    assert (made.ids[:, 1:] < START).all()
    is_noun = made.ids < len(GAZETTE.nouns)
    assert (is_noun.sum(dim=1) == 1).all()
    assert is_noun[torch.arange(COUNT), made.places].all()
    topics = topic_of_words()[made.ids]
    assert ((topics == made.topics[:, None]) | (topics == -1)).all()


def test_topics_are_as_likely_as_each_other_and_have_as_many_words() -> None:
    topics = topic_of_words()
    assert len(VOCABULARY) == len(topics) == START + 1
    assert topics[topics >= 0].bincount().tolist() == [16] * len(TOPICS)
    assert {VOCABULARY[i] for i in (topics == -1).nonzero().flatten()} == {*FILLERS, "<s>"}
    made = reports(COUNT, torch.Generator().manual_seed(4)).topics.bincount(minlength=len(TOPICS)) / COUNT
    assert ((made - 1 / len(TOPICS)).abs() < margin(COUNT)).all()


def test_the_same_seed_gives_the_same_reports_and_another_gives_others() -> None:
    one, again, other = (reports(50, torch.Generator().manual_seed(seed)).ids for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
