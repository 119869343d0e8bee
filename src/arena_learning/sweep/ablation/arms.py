"""The arms of an ablation: values of params.yaml that are compared with each other, each trained and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from arena_learning.arena import pair_contestants
from arena_learning.core import ArenaError, suggest
from arena_learning.params import NONE, WINNER, Params, Strategy
from arena_learning.schema import Battle, Instruction
from arena_learning.sweep.space import Values

Factor = Literal["selection", "threshold", "opponents", "mode"]
WHERE = "--arms"
# The thresholds of the paper's figure 9.
_THRESHOLDS: Mapping[str, tuple[float, ...]] = {"sft": (0, 1, 2, 3, 4, 5)}
_PAIRED = (0.0, 1.0, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Arm:
    """One arm of an ablation.

    Attributes:
        name: unique in its ablation.
        values: values of params.yaml that it replaces, by path.
        against: the arm that it is compared with; empty for the first.
        mode: who battles whom (`battle.mode`); empty: as in the round.
        place: where it stands on the figure's axis, if that is an axis of numbers.
    """

    name: str
    values: Values = field(default_factory=dict)
    against: str = ""
    mode: str = ""
    place: float | None = None


def ablation_arms(
    factor: Factor, name: str, params: Params, chosen: Sequence[str] = (), rows: int = 0
) -> list[Arm]:
    """Return the arms of an ablation, the reference first.

    Args:
        factor: ``selection`` (strategies, as ``random`` or with an opponent's answers ``random:expert``),
            ``threshold`` (numbers), ``opponents`` (names, joined by ``+``), or ``mode`` (``all``, ``target``,
            ``split``, or ``one:NAME``).
        name: the round.
        params: the current parameters.
        chosen: the arms; by default all that the factor has.
        rows: rows of every arm (0: as many as ``battles`` gives, or as the arm's battles give).

    Raises:
        ArenaError: an unknown arm, one named twice, fewer than two, or a round without a target.
    """
    if params.rounds[name].target == NONE:
        raise ArenaError(
            "this round learns labels without battles, so there is nothing to compare",
            where=f"params.yaml, rounds.{name}.target",
            hint="name a round with a target",
        )
    arms = _MAKERS[factor](name, params, [text.strip() for text in chosen if text.strip()])
    names = [arm.name for arm in arms]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise ArenaError(f"the arm '{twice[0]}' is named twice", where=WHERE, hint="name each arm once")
    if len(arms) < 2:
        raise ArenaError(
            f"{len(arms)} arm is too few: there is nothing to compare it with",
            where=WHERE,
            hint="name two or more",
        )
    budget = {"dataset.budget": rows} if rows else {}
    return [Arm(a.name, {**a.values, **budget}, a.against, a.mode, a.place) for a in arms]


def fought(
    arm: Arm, battles: Sequence[Battle], instructions: Sequence[Instruction], name: str, params: Params
) -> list[Battle]:
    """Return the battles that an arm's mode would have had, all of them judged already.

    Args:
        arm: the arm.
        battles: the round's.
        instructions: the round's.
        name: the round.
        params: the arm's parameters; their seed draws the opponents of ``split``.

    Raises:
        ArenaError: the round was judged in a mode that lacks some of them.
    """
    if not arm.mode:
        return list(battles)
    known = {(b.instruction_id, b.a, b.b): b for b in battles}
    opponents = list(params.dataset.opponents) or params.opponents_of(name)
    triples = pair_contestants(
        [one.id for one in instructions], params.rounds[name].target, opponents, arm.mode, params.seed
    )
    missing = [triple for triple in triples if triple not in known]
    if missing:
        instruction, a, b = missing[0]
        raise ArenaError(
            f"arm {arm.name}: {len(missing)} battles are not judged, such as {a} and {b} on '{instruction}'",
            where=f"data/rounds/{name}/battles.jsonl",
            hint="set battle.mode to all and run `dvc repro` for this round",
        )
    return [known[triple] for triple in triples]


def _selection(name: str, params: Params, chosen: Sequence[str]) -> list[Arm]:
    """Arms of strategies: compared with the first of the same answers, and those of other answers with the first."""
    strategies = get_args(Strategy)
    arms: list[Arm] = []
    for text in chosen or strategies:
        strategy, _, answers = text.partition(":")
        if strategy not in strategies:
            raise ArenaError(f"no strategy '{strategy}'", where=WHERE, hint=suggest(strategy, strategies))
        answers = answers or WINNER
        if answers != WINNER and answers not in params.opponents_of(name):
            raise ArenaError(
                f"{text}: no opponent '{answers}' in this round",
                where=WHERE,
                hint=suggest(answers, [WINNER, *params.opponents_of(name)]),
            )
        if answers != WINNER and params.rounds[name].method != "sft":
            raise ArenaError(
                f"{text}: only an SFT round can learn always the same opponent's answers",
                where=WHERE,
                hint=f"name the arm {strategy}",
            )
        values = {"dataset.strategy": strategy, "dataset.answers": answers}
        same = next((arm.name for arm in arms if arm.values["dataset.answers"] == answers), "")
        label = strategy if answers == WINNER else f"{strategy}:{answers}"
        arms.append(Arm(label, values, same or (arms[0].name if arms else "")))
    return arms


def _thresholds(name: str, params: Params, chosen: Sequence[str]) -> list[Arm]:
    """Arms of thresholds, in order; each is compared with the current one, which is always among them."""
    this = params.rounds[name]
    levels = {float(this.threshold)}
    for text in chosen:
        try:
            levels.add(float(text))
        except ValueError:
            raise ArenaError(
                f"'{text}' is no threshold", where=WHERE, hint="give numbers, as --arms 0,1,2,3"
            ) from None
    if not chosen:
        levels |= set(map(float, _THRESHOLDS.get(this.method, _PAIRED)))
    current = f"K {this.threshold:g}"
    arms = [
        Arm(f"K {level:g}", {f"rounds.{name}.threshold": level}, current, place=level)
        for level in sorted(levels)
    ]
    first = next(arm for arm in arms if arm.name == current)
    return [Arm(first.name, first.values, "", place=first.place), *(arm for arm in arms if arm is not first)]


def _opponents(name: str, params: Params, chosen: Sequence[str]) -> list[Arm]:
    """Arms of more and more opponents; each is compared with the one before it."""
    there = [one for one in params.opponents if one in params.opponents_of(name)]
    arms: list[Arm] = []
    for text in chosen or ["+".join(there[:count]) for count in range(1, len(there) + 1)]:
        named = [one.strip() for one in text.split("+")]
        for one in named:
            if one not in there:
                raise ArenaError(f"no opponent '{one}' in this round", where=WHERE, hint=suggest(one, there))
        before = arms[-1].name if arms else ""
        arms.append(Arm(text, {"dataset.opponents": named}, before, place=float(len(set(named)))))
    return arms


def _modes(name: str, params: Params, chosen: Sequence[str]) -> list[Arm]:
    """Arms of who battles whom; each is compared with the first, by default all against all."""
    there = params.opponents_of(name)
    known = ["all", "target", "split", *(f"one:{one}" for one in there)]
    supervised = params.rounds[name].supervised  # it learns from the target's own battles, so all is target
    arms: list[Arm] = []
    for text in chosen or [one for one in known if not (supervised and one == "target")]:
        if text not in known:
            raise ArenaError(f"no mode '{text}'", where=WHERE, hint=suggest(text, known))
        mode, _, one = text.partition(":")
        values: Values = {"dataset.opponents": [one]} if one else {}
        arms.append(Arm(text, values, arms[0].name if arms else "", "target" if one else mode))
    return arms


_MAKERS: Mapping[str, Callable[[str, Params, Sequence[str]], list[Arm]]] = {
    "selection": _selection,
    "threshold": _thresholds,
    "opponents": _opponents,
    "mode": _modes,
}
