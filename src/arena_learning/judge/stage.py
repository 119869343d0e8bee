"""The `judge` stage: from a round's responses to games and battles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_learning.core import Paths, logger, write_json
from arena_learning.judge.base import Judge
from arena_learning.judge.build import open_judge
from arena_learning.judge.planned import round_pairings
from arena_learning.judge.play import play_in_portions
from arena_learning.judge.recording import write_games
from arena_learning.judge.samples import ScoredSamples, plan_samples, sample_figures, score_samples
from arena_learning.params import Params
from arena_learning.schema import Instruction, Response, by_id, read_rows, rows_file, write_rows
from arena_learning.store import Account, Store


def judge_round(
    name: str, params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Judge a round's battles and return the stage's metrics. A round without a target has no battles.

    In a round that learns from samples, the samples are ranked too, in a file of their own.
    ``retry`` judges again what was unscored before.
    """
    this = params.rounds[name]
    instructions = by_id(read_rows(paths.split(this.split), Instruction))
    responses = {(r.instruction_id, r.contestant): r for r in read_rows(paths.responses(name), Response)}
    pairings = round_pairings(name, params, list(instructions))
    judge = open_judge(params.judge.name, params, paths)
    try:
        with (
            Store(paths.store, fresh=fresh, account=Account("judge", params, name)) as store,
            rows_file(paths.games(name)) as games,
            rows_file(paths.battles(name)) as battles,
        ):
            played = play_in_portions(
                pairings,
                instructions,
                responses,
                judge,
                store,
                disagree=params.judge.disagree,
                max_refused=params.serving.max_refused,
                retry=retry,
            )
            recorded = write_games(played, responses, games, battles, this.target)
            ranked = _rank_samples(name, instructions, params, paths, judge, store, retry=retry)
    finally:
        judge.close()
    metrics = {
        "judge": judge.label,
        **recorded.health,
        "target": this.target,
        "against": recorded.against,
        "seconds": round(recorded.seconds, 1),
        "tokens": recorded.tokens,
        **({"samples": sample_figures(ranked)} if ranked else {}),
    }
    write_json(paths.stage_metrics(name, "judge"), metrics)
    return {**metrics, "judged": recorded.judged + (ranked.played.judged if ranked else 0)}


def _rank_samples(
    name: str,
    instructions: Mapping[str, Instruction],
    params: Params,
    paths: Paths,
    judge: Judge,
    store: Store,
    *,
    retry: bool,
) -> ScoredSamples | None:
    """Score the round's samples and write the scores; None in a round that learns from none, whose file is empty."""
    if not params.samples_of(name):
        write_rows(paths.sample_scores(name), [])
        return None
    samples = read_rows(paths.samples(name), Response)
    plan = plan_samples(samples, judge, params.battle.sample_games, params.seed)
    logger.info(f"{name}: {len(samples)} samples, {plan.games} games under {judge.label}")
    ranked = score_samples(
        plan,
        instructions,
        judge,
        store,
        disagree=params.judge.disagree,
        max_refused=params.serving.max_refused,
        retry=retry,
    )
    write_rows(paths.sample_scores(name), ranked.scores)
    return ranked
