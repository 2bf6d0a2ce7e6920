"""Text that is handed out within a budget."""

from torch import Tensor


class BudgetSpent(Exception):
    """More was asked for than the budget has left."""


class TextSupply:
    """Texts that are handed out, in the order in which they come, within a budget of tokens.

    Args:
        texts: (N, T), at least as many as the budget buys.
        tokens: the budget.

    Attributes:
        length: tokens in a text, T.
        left: tokens of the budget that have not been spent.
        draws: how many texts were handed out each time.
    """

    def __init__(self, texts: Tensor, tokens: int) -> None:
        self.length = texts.shape[1]
        self.left = tokens
        self.draws: list[int] = []
        self._texts = texts

    def draw(self, count: int) -> Tensor:
        """The next texts, (count, T).

        Raises:
            ValueError: if none are asked for.
            BudgetSpent: if they cost more than is left; the message says by how much.
        """
        if count < 1:
            raise ValueError(f"{count} texts were asked for: ask for at least one")
        cost = count * self.length
        if cost > self.left:
            over = cost - self.left
            raise BudgetSpent(f"{count} texts cost {cost:,} tokens, and {self.left:,} are left: {over:,} too many")
        begin = sum(self.draws)
        self.draws.append(count)
        self.left -= cost
        return self._texts[begin : begin + count].clone()

    def report(self) -> tuple[int, list[int]]:
        """Tokens that are left, and how many texts were handed out each time."""
        return self.left, list(self.draws)
