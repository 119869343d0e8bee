"""Optimise a judge's prompt and parameters on labelled pairs.

One half of the pairs, split by instruction, selects the winner. The other half is used once, to compare the winner with
the current parameters. A pair counts 1 if the judge names the label's outcome, else 0: a pair without a verdict is a
miss, so no judge gains by leaving out hard pairs.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.judge import Judge, JudgeTemplate, Pairing, judge_health, open_judge, play_games
from arena_learning.judge.audit import SIDES, Labelled, read_labelled
from arena_learning.params import Params
from arena_learning.pool import seeded_rank
from arena_learning.schema import Battle, Game
from arena_learning.store import Account, Store
from arena_learning.sweep.judge.pruning import clearly_worse
from arena_learning.sweep.judged_by import model_identity, template_identities
from arena_learning.sweep.space import (
    Space,
    Values,
    current_values,
    flat_values,
    make_space,
    override,
    values_digest,
)
from arena_learning.sweep.statistics import detectable, estimate
from arena_learning.sweep.task import Outcome, Trial

BLOCK = 15  # pairs between two checks whether a trial should be pruned
FEWEST_PAIRS = 10  # in each half
DISCORDANCE = 0.3  # assumed share of pairs that two judges decide differently, before any results
OBJECTIVES = ("agreement", "-tokens", "-flips")
_OUTCOMES = {"a": "model_a", "b": "model_b", "tie": "tie"}


class Limits(NamedTuple):
    """Limits for a judge: shares of pairs, and tokens per game (0: any number)."""

    flips: float = 0.5
    unscored: float = 0.05
    tokens: float = 0.0


class Judgement(NamedTuple):
    """A judge's verdicts on some pairs: hits (1 or 0) by the pair's index, and its battles and games."""

    hits: dict[int, float]
    battles: list[Battle]
    games: list[Game]
    judged: int
    seconds: float


class JudgeTask:
    """The sweep of one judge.

    Args:
        name: the judge's name in params.yaml.
        params: the current parameters.
        paths: the project.
        space: see `space.make_space`.
        file: labelled pairs; see `labelled.read_labelled`.
        limits: the constraints.
        objectives: some of `OBJECTIVES`; by default agreement.

    Raises:
        ArenaError: no such judge, template or objective; an invalid space; too few labels, or labels of one class.
    """

    kind = "judge"

    def __init__(
        self,
        name: str,
        params: Params,
        paths: Paths,
        space: Mapping[str, Any],
        file: Path,
        limits: Limits = Limits(),  # noqa: B008  frozen
        objectives: Sequence[str] = (),
    ) -> None:
        if name not in params.judges:
            raise ArenaError(f"no judge '{name}'", hint=suggest(name, params.judges))
        self.subject, self.params, self.paths, self.seed = name, params, paths, params.seed
        self.limits, self.file = limits, file
        self.objectives = tuple(objectives) or OBJECTIVES[:1]
        for objective in self.objectives:
            if objective not in OBJECTIVES:
                hint = suggest(objective, OBJECTIVES)
                raise ArenaError(f"no objective '{objective}'", where="--objective", hint=hint)
        self.labelled = read_labelled(file)
        self.tune, self.confirm = halves(self.labelled, self.seed, str(file))
        self.space: Space = make_space(space, params)
        self.current: Values = current_values(self.space, params)
        self._data = values_digest([pair.model_dump(mode="json") for pair in self.labelled.pairs], 32)
        models = [params.judges[one].model for one in params.single_judges(name)]
        self._model = " ".join(model_identity(model, paths) for model in models)
        self._open: dict[str, Judge] = {}
        self._check()

    def _check(self) -> None:
        for dimension in self.space:
            if not self.may_vary(dimension.path):
                raise ArenaError(
                    f"{dimension.path}: has no effect on the judge '{self.subject}'",
                    where="the sweep's space",
                    hint=f"use keys of {', '.join(f'judges.{name}' for name in self._judges(self.params))}, or "
                    "judge.disagree",
                )
            if dimension.path.endswith(".template"):
                for template in dimension.choices:
                    JudgeTemplate(template, self.paths.root)

    def inputs(self, values: Values) -> Mapping[str, Any]:
        """Return all that can change a trial's outcome; see `task.Task`."""
        params = override(self.params, values)
        kept = {
            "seed": params.seed,
            "serving": {"dtype": params.serving.dtype},
            "judge": {"disagree": params.judge.disagree},
            "judges": self._judges(params),
        }
        return {
            "params": flat_values(kept),
            "objectives": list(self.objectives),
            "limits": list(self.limits),
            "pairs": self._data,
            "model": self._model,
            "templates": self._templates(params),
        }

    def may_vary(self, path: str) -> bool:
        """Whether a key has an effect on the judge; see `task.Task`."""
        return path in self.inputs(self.current)["params"]

    def _judges(self, params: Params) -> dict[str, Any]:
        """Return the settings of the judge and, if it is a jury, of its members."""
        names = dict.fromkeys((self.subject, *params.single_judges(self.subject)))
        return {name: params.judges[name].model_dump(mode="json") for name in names}

    def _templates(self, params: Params) -> list[str]:
        judges = [params.judges[name] for name in params.single_judges(self.subject)]
        return template_identities(judges, self.paths.root)

    def run(self, values: Values, trial: Trial) -> Outcome:
        """Judge the first half in shuffled blocks; prune a trial that cannot be feasible or is clearly worse."""
        params = override(self.params, values)
        order = list(self.tune)
        random.Random(values_digest([self.seed, values], 16)).shuffle(order)
        looks = -(-len(order) // BLOCK)
        best = _best(trial.others(), len(order), self.objectives)
        done = Judgement({}, [], [], 0, 0.0)
        pruned = ""
        for start in range(0, len(order), BLOCK):
            done = joined(done, self.judge(params, order[start : start + BLOCK]))
            for place in order[start : start + BLOCK]:
                trial.report(place, done.hits[place])
            if len(done.hits) == len(order):
                break
            pruned = self._hopeless(done, len(order)) or clearly_worse(done.hits, best, looks)
            if pruned:
                pruned += f" ({len(done.hits)} of {len(order)} pairs)"
                break
        figures = self.figures(done)
        shown = {**figures, "templates": self._templates(params), "detectable": self._detectable(best, done)}
        constraints = self._constraints(figures)
        reused = {"games": len(done.games) - done.judged}
        if pruned:
            return Outcome((), pruned, constraints, shown, reused)
        measured = {
            "agreement": figures["agreement"]["mean"],
            "-tokens": figures["tokens"],
            "-flips": figures["flips"],
        }
        return Outcome(tuple(measured[o] for o in self.objectives), "", constraints, shown, reused)

    def judge(self, params: Params, places: Sequence[int]) -> Judgement:
        """Let the judge of ``params`` judge the pairs at some indices."""
        ids = list(self.labelled.instructions)
        judge = self._opened(params)
        with Store(self.paths.store, account=Account("sweep", params)) as store:
            judged = play_games(
                [Pairing(ids[place], *SIDES) for place in places],
                self.labelled.instructions,
                self.labelled.responses,
                judge,
                store,
                disagree=params.judge.disagree,
            )
        by_id = {battle.instruction_id: battle for battle in judged.battles}
        hits = {
            place: float(_OUTCOMES.get(by_id[ids[place]].winner) == self.labelled.pairs[place].label)
            for place in places
        }
        return Judgement(hits, judged.battles, judged.games, judged.judged, judged.seconds)

    def figures(self, done: Judgement) -> dict[str, Any]:
        """Return agreement with its interval, and the figures that are constrained."""
        health = judge_health(done.games, done.battles, self.labelled.responses)
        own = [(hit, self.labelled.clusters[place]) for place, hit in done.hits.items()]
        return {
            "pairs": len(done.hits),
            "agreement": estimate_share(own, self.seed),
            "flips": health["flip_rate"] or 0.0,
            "unscored": health["unscored_rate"] or 0.0,
            "unscored_reasons": health["unscored_reasons"],
            "ties": health["tie_rate"],
            "first_position": health["first_position_share"],
            "longer_wins": health["longer_wins"],
            **{key: value for key, value in health.items() if key.startswith("members_")},
            "tokens": sum(game.tokens for game in done.games) / max(1, len(done.games)),
            "judging_seconds": round(done.seconds, 2),
        }

    def asked_and_answered(self, place: int) -> Any:
        """Return the texts of a pair, which identify it in any file and in either order of the answers."""
        pair = self.labelled.pairs[place].model_dump(mode="json")
        return [pair["instruction"], pair["turns"], *sorted([pair["response_a"], pair["response_b"]])]

    def close(self) -> None:
        """Close the open judge."""
        for judge in self._open.values():
            judge.close()
        self._open.clear()

    def _opened(self, params: Params) -> Judge:
        """Return the judge of ``params``; the open one is reused if only the merging of games differs."""
        key = values_digest([self._judges(params), params.serving.model_dump(mode="json"), params.seed], 32)
        if key not in self._open:
            self.close()
            self._open[key] = open_judge(self.subject, params, self.paths)
        return self._open[key]

    def _constraints(self, figures: Mapping[str, Any]) -> dict[str, float]:
        found = {
            "flips": figures["flips"] - self.limits.flips,
            "unscored": figures["unscored"] - self.limits.unscored,
        }
        if self.limits.tokens:
            found["tokens"] = figures["tokens"] - self.limits.tokens
        return found

    def _hopeless(self, done: Judgement, pairs: int) -> str:
        """Return why the constraints cannot hold any more, whatever the remaining pairs give; empty if they can."""
        unscored = sum(battle.winner == "unscored" for battle in done.battles)
        flips = sum(battle.orders_agree is False for battle in done.battles)
        if unscored > self.limits.unscored * pairs:
            return f"{unscored} pairs unscored already"
        if flips > self.limits.flips * pairs:
            return f"{flips} flips already"
        return ""

    def _detectable(self, best: Mapping[int, float], done: Judgement) -> float:
        """Return the smallest detectable difference to the best trial so far on this half."""
        both = best.keys() & done.hits.keys()
        apart = sum(best[p] != done.hits[p] for p in both) / len(both) if len(both) >= BLOCK else DISCORDANCE
        return detectable(max(apart, 1 / len(self.tune)) ** 0.5, len(self.tune))


def halves(labelled: Labelled, seed: int, where: str) -> tuple[list[int], list[int]]:
    """Return the indices of the pairs that select and of those that confirm; no instruction is in both.

    Within each category and label, pairs alternate between the halves in a seeded order.

    Raises:
        ArenaError: too few pairs, or labels of one class only.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for place, cluster in enumerate(labelled.clusters):
        groups[cluster].append(place)
    strata: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
    for cluster in sorted(groups, key=lambda c: seeded_rank(seed, "judge halves", c)):
        first = labelled.pairs[groups[cluster][0]]
        strata[first.category, first.label].append(groups[cluster])
    parts: tuple[list[int], list[int]] = ([], [])
    turn = 0
    for key in sorted(strata):
        for places in strata[key]:
            parts[turn % 2].extend(places)
            turn += 1
    for part in parts:
        classes = Counter(labelled.pairs[place].label for place in part)
        if len(part) < FEWEST_PAIRS:
            raise ArenaError(
                f"{len(labelled.pairs)} labelled pairs are too few: a half has {len(part)} and needs {FEWEST_PAIRS}",
                where=where,
                hint="label more pairs: 230 pairs in each half detect a difference of 10 points",
            )
        if len(classes) < 2:
            raise ArenaError(
                f"all labels are '{next(iter(classes))}': a judge that always says so would be perfect",
                where=where,
                hint="give pairs of both outcomes, for example by swapping the answers of every other pair",
            )
    return sorted(parts[0]), sorted(parts[1])


def joined(one: Judgement, other: Judgement) -> Judgement:
    """Return two judgements of different pairs as one."""
    return Judgement(
        {**one.hits, **other.hits},
        [*one.battles, *other.battles],
        [*one.games, *other.games],
        one.judged + other.judged,
        one.seconds + other.seconds,
    )


def estimate_share(hits: Sequence[tuple[float, str]], seed: int) -> dict[str, float]:
    """Return the share of hits with its interval, which resamples instructions."""
    by: dict[str, list[float]] = defaultdict(list)
    for hit, cluster in hits:
        by[cluster].append(hit)
    share = sum(hit for hit, _ in hits) / max(1, len(hits))
    if len(by) == len(hits):
        return estimate([hit for hit, _ in hits], seed)._asdict()
    # Clusters differ in size: the interval is that of a ratio, from the sums of (hit - share) by cluster.
    mean = len(hits) / len(by)
    spread = estimate([sum(h - share for h in own) / mean for own in by.values()], seed)
    return {"mean": share, "lower": share + spread.lower, "upper": share + spread.upper, "items": len(by)}


def _best(records: Sequence[Mapping[str, Any]], pairs: int, objectives: Sequence[str]) -> dict[int, float]:
    """Return the hits of the best feasible trial; empty with several objectives, where nothing is pruned."""
    whole = [r for r in records if r["feasible"] and len(r["items"]) == pairs]
    if not whole or objectives != OBJECTIVES[:1]:
        return {}
    best = max(whole, key=lambda r: (r["values"][0], -r["number"]))
    return {int(place): hit for place, hit in best["items"].items()}
