"""Sentences of our own in which a word has one of two senses, for looking at vectors in context one by one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WordUses:
    """Two senses of a word.

    Attributes:
        senses: what they are.
        sentences: four of the first, then four of the second; the word stands once in each.
        another: one more sentence, of the first sense.
    """

    senses: tuple[str, str]
    sentences: tuple[str, ...]
    another: str


WORD_USES = {
    "bank": WordUses(
        ("side of a river", "place for money"),
        (
            "they sat on the bank of the river and watched the boats .",
            "the village lies on the northern bank of the lake .",
            "trees grew along the bank of the stream .",
            "the army camped on the east bank of the river .",
            "the bank lent him money to buy a house .",
            "she opened an account at the bank in the city .",
            "the central bank raised its interest rates .",
            "the bank was closed after the financial crisis .",
        ),
        "the boat lay at the bank of the canal .",
    ),
    "second": WordUses(
        ("after the first", "a sixtieth of a minute"),
        (
            "the second world war began in 1939 .",
            "she is the second child of the king .",
            "this is the second largest city of the country .",
            "his second wife was a singer .",
            "light travels 300,000 kilometers per second .",
            "the ship moves at ten meters per second .",
            "it turns three times in one second .",
            "the signal lasts less than a second .",
        ),
        "they played the second game in the rain .",
    ),
    "may": WordUses(
        ("the month", "perhaps"),
        (
            "the war ended in may 1945 .",
            "she was born on 5 may 1821 .",
            "the games take place in may and june .",
            "in may of that year he died .",
            "he may have been born in spain .",
            "the name may also refer to a river .",
            "it may be used to make paper .",
            "people may not enter the building .",
        ),
        "the flowers open in late may .",
    ),
    "lead": WordUses(
        ("to go in front", "the metal"),
        (
            "the roads lead to the city .",
            "he was chosen to lead the army .",
            "it can lead to death .",
            "they lead the team .",
            "pipes were made of lead .",
            "lead is a heavy metal .",
            "the poison contains lead .",
            "gold and lead are soft .",
        ),
        "she will lead us over the mountains .",
    ),
    "work": WordUses(
        ("to be busy", "what was made"),
        (
            "they work in the factory from morning to night .",
            "many people work on farms .",
            "he had to work for his uncle .",
            "the machine does not work without water .",
            "his work was published after his death .",
            "the work of the painter is known in europe .",
            "she was paid for her work .",
            "it is the best known work of the composer .",
        ),
        "we work until the sun sets .",
    ),
    "rock": WordUses(
        ("music", "stone"),
        (
            "rock music became popular in the 1960s .",
            "a rock band came from england .",
            "he plays the guitar in a rock group .",
            "she sings rock and blues .",
            "the mountain is made of volcanic rock .",
            "water flows through cracks in the rock .",
            "a layer of rock lies under the soil .",
            "the castle was built on a rock .",
        ),
        "their first rock song was about love .",
    ),
}
"""For the first five the two-directional language model that ships with the course tells the senses apart."""
