"""Ranking the target's own samples: scored one by one, or by a bounded schedule of games among them.

A judge that scores one answer by itself is asked once a sample. One that compares two answers would be asked for 56
games an instruction of eight samples; here each sample meets a few others, drawn by the seed, and its score is the mean
of what it was given. Every verdict goes through the store, as those on battles do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from arena_learning.judge.base import Judge, is_pointwise, plays_both_orders
from arena_learning.judge.health import JuryHealth
from arena_learning.judge.play import Pairing, PlayedGames, play_games
from arena_learning.pool import seeded_rank
from arena_learning.schema import Battle, Instruction, Response, SampleScore
from arena_learning.store import Store

_SAME = "its samples all say the same"


class SamplePlan(NamedTuple):
    """Who meets whom, before anything is judged.

    Attributes:
        players: one sample for each text that was drawn to an instruction, by (instruction id, name); the name is
            ``CONTESTANT#SAMPLE``, which no contestant can have.
        names: the name of the sample that stands for each, by (instruction id, sample).
        pairings: who meets whom.
        games: how many games that is.
    """

    players: dict[tuple[str, str], Response]
    names: dict[tuple[str, int], str]
    pairings: list[Pairing]
    games: int


class ScoredSamples(NamedTuple):
    """A score for each sample in the order of instructions and samples, and the games behind them."""

    scores: list[SampleScore]
    played: PlayedGames


def plan_samples(samples: Sequence[Response], judge: Judge, others: int, seed: int) -> SamplePlan:
    """Plan the games that rank samples.

    Args:
        samples: of one contestant, on any instructions.
        judge: who will score them.
        others: how many other samples each one meets where the judge compares two (`BattleParams.sample_games`).
        seed: of the draw of opponents.
    """
    players: dict[tuple[str, str], Response] = {}
    names: dict[tuple[str, int], str] = {}
    texts: dict[tuple[str, str, str], str] = {}
    each: dict[str, list[str]] = defaultdict(list)
    for sample in sorted(samples, key=lambda r: (r.instruction_id, r.sample)):
        own = f"{sample.contestant}#{sample.sample}"
        name = texts.setdefault((sample.instruction_id, sample.text, sample.finish_reason), own)
        names[sample.instruction_id, sample.sample] = name
        if name == own:
            players[sample.instruction_id, name] = sample.model_copy(update={"contestant": name})
            each[sample.instruction_id].append(name)
    alone = is_pointwise(judge)
    pairings = [
        Pairing(instruction_id, *sorted(pair))
        for instruction_id, own_names in each.items()
        for pair in (
            [(n, n) for n in own_names] if alone else meetings(instruction_id, own_names, others, seed)
        )
    ]
    games = len(pairings) * (2 if plays_both_orders(judge) and not alone else 1)
    return SamplePlan(players, names, pairings, games)


def meetings(instruction_id: str, names: Sequence[str], others: int, seed: int) -> list[tuple[str, str]]:
    """Return pairs in which each name meets ``others`` others (0, or too many: all), by a seeded draw.

    The names stand in a shuffled circle and meet their next ones. Where number and ``others`` are both odd, no such
    schedule exists, and one name meets one more.
    """
    circle = sorted(names, key=lambda name: seeded_rank(seed, "samples", instruction_id, name))
    count = len(circle)
    each = min(others or count, count - 1)
    pairs = [
        (circle[i], circle[(i + step) % count]) for step in range(1, each // 2 + 1) for i in range(count)
    ]
    if each % 2:
        across = count // 2
        pairs += [(circle[i], circle[i + across]) for i in range(across)]
        if count % 2:
            pairs.append((circle[across - 1], circle[count - 1]))
    return pairs


def score_samples(
    plan: SamplePlan,
    instructions: Mapping[str, Instruction],
    judge: Judge,
    store: Store,
    *,
    disagree: str,
    max_refused: float,
    retry: bool = False,
) -> ScoredSamples:
    """Play what was planned and score each sample; arguments as those of `play.play_in_portions`.

    Raises:
        ArenaError: the judge cannot be asked, or refuses too much; its verdicts are in the store.
    """
    played = play_games(
        plan.pairings,
        instructions,
        plan.players,
        judge,
        store,
        disagree=disagree,
        max_refused=max_refused,
        retry=retry,
    )
    found = _alone(played) if is_pointwise(judge) else _by_battles(played)
    nothing = SampleScore(instruction_id="", sample=1, judge=judge.label, unscored=_SAME)
    scores = [
        found.get((instruction_id, name), nothing).model_copy(
            update={"instruction_id": instruction_id, "sample": sample}
        )
        for (instruction_id, sample), name in plan.names.items()
    ]
    return ScoredSamples(scores, played)


def sample_figures(scored: ScoredSamples) -> dict[str, Any]:
    """Return counts, and the samples' mean, best and worst score, each a mean over the instructions with two or more.

    ``spread`` is the mean distance of best and worst: what a pair of them has to teach. A jury's have the figures of
    `health.JuryHealth` too.
    """
    by_instruction: dict[str, list[float]] = defaultdict(list)
    for one in scored.scores:
        if one.score is not None:
            by_instruction[one.instruction_id].append(one.score)
    several = [scores for scores in by_instruction.values() if len(scores) > 1]
    reasons = Counter(one.unscored for one in scored.scores if one.unscored)
    played, jury = scored.played, JuryHealth()
    jury.add(played.games)
    return {
        "samples": len(scored.scores),
        "unscored": reasons.total(),
        "unscored_reasons": dict(sorted(reasons.items())),
        "instructions": len({one.instruction_id for one in scored.scores}),
        "instructions_ranked": len(several),
        "mean_score": fmean(map(fmean, several)) if several else None,
        "best_score": fmean(map(max, several)) if several else None,
        "worst_score": fmean(map(min, several)) if several else None,
        "spread": fmean(max(scores) - min(scores) for scores in several) if several else None,
        "games": len(played.games),
        "games_unscored": sum(game.unscored is not None for game in played.games),
        "seconds": round(played.seconds, 1),
        "tokens": played.tokens,
        **jury.figures(),
    }


def _alone(played: PlayedGames) -> dict[tuple[str, str], SampleScore]:
    """Return the score of each sample's game with itself."""
    return {
        (game.instruction_id, game.first): SampleScore(
            instruction_id=game.instruction_id,
            sample=1,
            judge=game.judge,
            score=game.score_first,
            unscored=game.unscored,
            rationales=(game.rationale,) if game.unscored is None else (),
        )
        for game in played.games
    }


def _by_battles(played: PlayedGames) -> dict[tuple[str, str], SampleScore]:
    """Return each sample's mean score over its scored battles."""
    own: dict[tuple[str, str], list[Battle]] = defaultdict(list)
    for battle in played.battles:
        for name in (battle.a, battle.b):
            own[battle.instruction_id, name].append(battle)
    return {key: _mean(key[0], key[1], battles) for key, battles in own.items()}


def _mean(instruction_id: str, name: str, battles: Sequence[Battle]) -> SampleScore:
    scored = [b for b in battles if b.winner != "unscored"]
    scores = [score for b in scored if (score := b.score_a if b.a == name else b.score_b) is not None]
    sides = [("a" if b.a == name else "b", b.winner) for b in scored]
    reasons = sorted({b.unscored for b in battles if b.unscored})
    return SampleScore(
        instruction_id=instruction_id,
        sample=1,
        judge=battles[0].judge,
        score=fmean(scores) if scores else None,
        battles=len(scored),
        wins=sum(1.0 if winner == side else 0.5 * (winner == "tie") for side, winner in sides),
        unscored=None if scores else "; ".join(reasons),
        rationales=tuple(line for b in scored for line in b.rationales),
    )
