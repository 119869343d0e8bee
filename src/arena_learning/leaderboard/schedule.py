"""Which battles are judged on the test set: `evaluate.schedule`.

Contestants are added in the order of `Params.joining`, and each adds only battles of its own. A new round or a late
opponent therefore leaves earlier battles as they are and requests none again: the choice depends only on verdicts and
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from arena_learning.judge import Pairing, PlayedGames
from arena_learning.params import Params
from arena_learning.rating import Planned, ScheduleParams, plan_adaptive
from arena_learning.schema import AnyBattle, Game, Instruction

if TYPE_CHECKING:
    import pandas as pd

Play = Callable[[Iterable[Pairing]], Iterator[PlayedGames]]
# Judges are faster with full batches, so the ratings are updated only after each tenth more battles.
_GROWTH = 0.1
_WINNERS = {"a": "model_a", "b": "model_b", "tie": "tie"}


def all_pairings(contestants: Sequence[str], instructions: Sequence[Instruction]) -> list[Pairing]:
    """Return every pair of contestants on every instruction."""
    return [Pairing(i.id, a, b) for i in instructions for a, b in combinations(sorted(contestants), 2)]


def play_scheduled(instructions: Sequence[Instruction], params: Params, play: Play) -> Iterator[PlayedGames]:
    """Judge the battles that ``evaluate.schedule`` asks for, in portions in canonical order.

    Args:
        instructions: the test set.
        params: the contestants, and how battles are chosen.
        play: judges pairings, like `judge.play.play_in_portions`.
    """
    if params.evaluate.schedule == "adaptive":
        return iter(play_adaptive(instructions, params, play))
    return play(planned_pairings(instructions, params))


def planned_pairings(instructions: Sequence[Instruction], params: Params) -> list[Pairing]:
    """Return the battles of a schedule that is known beforehand: every one that ``adaptive`` may choose from."""
    pairings = all_pairings(params.contestants, instructions)
    if params.evaluate.schedule == "anchored":
        pairings = [one for one in pairings if params.evaluate.anchor in (one.a, one.b)]
    return pairings


def play_adaptive(instructions: Sequence[Instruction], params: Params, play: Play) -> list[PlayedGames]:
    """Choose the battles that are most informative about the ranking, until neighbours separate or the budget is spent.

    Returns:
        All games as one portion, or nothing if there are no pairs.
    """
    asked = [instruction.id for instruction in instructions]
    parts: list[PlayedGames] = []
    played: list[Planned] = []
    present: list[str] = []
    separated: frozenset[tuple[str, str]] = frozenset()
    for newcomers in params.joining:
        founded = bool(present)
        present += newcomers
        if len(present) < 2:
            continue
        budget = params.evaluate.budget * (len(newcomers) if founded else len(present))
        how = ScheduleParams(
            gap=params.evaluate.gap,
            budget=len(played) + budget if budget else None,
            growth=_GROWTH,
            seed=params.seed,
        )
        while True:
            plan = plan_adaptive(
                battles_frame([battle for part in parts for battle in part.battles]),
                present,
                asked,
                how,
                played=played,
                newcomers=newcomers if founded else (),
                separated_before=separated,
            )
            separated = plan.separated
            if plan.done:
                break
            parts += play(Pairing(one.instruction, one.model_a, one.model_b) for one in plan.battles)
            played += plan.battles
    return [_together(parts)] if parts else []


def battles_frame(battles: Iterable[AnyBattle]) -> pd.DataFrame:
    """Return the scored battles in the columns of `rating.rate`, with the instruction as the prompt."""
    import pandas as pd  # imported here: reading battles alone should not wait for it

    rows = [(b.a, b.b, _WINNERS[b.winner], b.instruction_id) for b in battles if b.winner != "unscored"]
    return pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "prompt_id"])


def _together(parts: Sequence[PlayedGames]) -> PlayedGames:
    """Merge portions into the order that a single portion would have."""
    return PlayedGames(
        parts[0].judge,
        sorted((game for part in parts for game in part.games), key=_place),
        sorted(
            (battle for part in parts for battle in part.battles), key=lambda b: (b.instruction_id, b.a, b.b)
        ),
        judged=sum(part.judged for part in parts),
        seconds=sum(part.seconds for part in parts),
        tokens=sum(part.tokens for part in parts),
    )


def _place(game: Game) -> tuple[str, str, str, bool]:
    low, high = sorted((game.first, game.second))
    return game.instruction_id, low, high, game.first != low
