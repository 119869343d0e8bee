"""Merge the games of a pair into a battle (the paper does not publish its rule; see docs/reference/judges.md)."""

from __future__ import annotations

from collections.abc import Sequence

from arena_learning.schema import Battle, Game, Winner


def merge_games(
    games: Sequence[Game], category: str, disagree: str = "average", expected: int = 2, margin: float = 0.0
) -> Battle:
    """Merge the games of one pair on one instruction.

    Args:
        games: one game for each order; all of the same instruction, judge and pair.
        category: the instruction's category.
        disagree: what two orders with different outcomes become: ``average`` (the winner by mean score), ``tie`` or
            ``drop`` (unscored).
        expected: scored games that a battle needs; with fewer it is unscored.
        margin: mean scores that differ by no more than this are a tie; it has no part in whether the orders agree.

    Returns:
        The battle, contestants in alphabetical order. An unscored game is neither a tie nor a loss: the battle is
        unscored, with the reason.

    Example:
        >>> pair = {"instruction_id": "q", "judge": "j"}
        >>> one = Game(**pair, first="x", second="y", score_first=8, score_second=6)
        >>> two = Game(**pair, first="y", second="x", score_first=7, score_second=7)
        >>> battle = merge_games([one, two], "writing")
        >>> battle.winner, battle.score_a, battle.score_b, battle.orders_agree
        ('a', 7.5, 6.5, False)
    """
    first = games[0]
    a, b = sorted((first.first, first.second))
    scored = [game for game in games if game.unscored is None]
    battle = Battle(
        instruction_id=first.instruction_id,
        category=category,
        judge=first.judge,
        a=a,
        b=b,
        winner="unscored",
        games=len(scored),
        rationales=tuple(game.rationale for game in scored),
    )
    if len(scored) < expected:
        reasons = sorted({game.unscored for game in games if game.unscored})
        return battle.model_copy(update={"unscored": "; ".join(reasons) or "a game is missing"})
    scores = [_scores(game, a) for game in scored]
    agree = len({_winner(*pair) for pair in scores}) == 1 if len(scores) > 1 else None
    if agree is False and disagree == "drop":
        return battle.model_copy(update={"unscored": "the orders disagree", "orders_agree": False})
    mean_a, mean_b = (sum(column) / len(scores) for column in zip(*scores, strict=True))
    tied = abs(mean_a - mean_b) <= margin or (agree is False and disagree == "tie")
    winner: Winner = "tie" if tied else _winner(mean_a, mean_b)
    gap = 0.0 if winner == "tie" else abs(mean_a - mean_b)
    result = {"winner": winner, "score_a": mean_a, "score_b": mean_b, "gap": gap, "orders_agree": agree}
    return battle.model_copy(update=result)


def _scores(game: Game, a: str) -> tuple[float, float]:
    """Return the game's scores as (a's, b's)."""
    if game.score_first is None or game.score_second is None:
        raise ValueError(f"a scored game without scores: {game.instruction_id}")
    return (game.score_first, game.score_second) if game.first == a else (game.score_second, game.score_first)


def _winner(score_a: float, score_b: float) -> Winner:
    if score_a == score_b:
        return "tie"
    return "a" if score_a > score_b else "b"
