"""`arena ablate`: train and measure every arm under every seed, then compare them and write the report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from filelock import FileLock

from arena_learning.core import ArenaError, Paths, logger, read_json, write_json
from arena_learning.params import Params
from arena_learning.report import make_ablation_page
from arena_learning.sweep.ablation.arms import Arm, Factor, ablation_arms, fought
from arena_learning.sweep.ablation.compare import arm_views, differences
from arena_learning.sweep.ablation.draw import draw_ablation
from arena_learning.sweep.looks import marks, note_look
from arena_learning.sweep.round_training import FEWEST_ROWS, VALIDATION, RoundTraining, Rows
from arena_learning.sweep.space import override, values_digest
from arena_learning.sweep.task import InfeasibleError
from arena_learning.sweep.workers import check_count
from arena_learning.train import choose_precision

Result = dict[str, Any]  # of one training, see `_trained`
_KEPT = ("rows", "left_out", "train", "answers", "gains", "outcomes", "seconds", "given_up")


def run_ablation(
    factor: Factor,
    name: str,
    params: Params,
    paths: Paths,
    *,
    arms: Sequence[str] = (),
    seeds: int = 1,
    rows: int = 0,
    split: str = VALIDATION,
    log: Callable[[dict[str, Any]], object] = lambda report: None,
) -> dict[str, Any]:
    """Run an ablation of a round and return its report, which is also written below reports/ablations.

    Each arm is trained under each seed from the round's start, answers the validation set, and is judged against the
    start by every judge of the leaderboard. What a training gave is saved when it is measured: the same call after a
    kill trains only what is left.

    Args:
        factor: what the arms differ in, see `ablation_arms`.
        name: the round.
        params: the current parameters.
        paths: the project.
        arms: names of the arms; by default all of the factor.
        seeds: number of trainings of each arm, with the seeds ``seed``, ``seed + 1``, ...; draws of a strategy and of
            opponents differ too.
        rows: rows of every arm, see `ablation_arms`.
        split: must be ``validation``: what is chosen by the test set cannot be measured on it.
        log: shows the report elsewhere; called at the end.

    Raises:
        ArenaError: a bad argument, no such round, or an earlier stage has not run.
    """
    _check(split, seeds, rows)
    work = RoundTraining(name, params, paths)
    compared = ablation_arms(factor, name, params, arms, rows)
    under = [params.seed + number for number in range(seeds)]
    # Whatever is wrong with an arm is said before the first is trained.
    for arm, seed in product(compared, under):
        own = override(params, {**arm.values, "seed": seed})
        fought(arm, work.battles, work.instructions, name, own)
    try:
        done = _run_all(work, compared, under)
    finally:
        work.close()
    study = f"{factor}-{name}-{_digest(work, compared)}"
    report = _report(study, factor, work, compared, done, rows)
    write_json(paths.ablations / f"{study}.json", report)
    figure = draw_ablation(report, paths.ablations / f"{study}.png")
    make_ablation_page(report, figure, paths.ablations / f"{study}.html")
    log(report)
    return report


def _check(split: str, seeds: int, rows: int) -> None:
    if split != VALIDATION:
        why = "the test set decides nothing" if split == "test" else "it is no held-out split"
        raise ArenaError(
            f"an ablation is not measured on '{split}': {why}", where="--split", hint=f"use {VALIDATION}"
        )
    check_count("--seeds", seeds)
    if 0 < rows < FEWEST_ROWS or rows < 0:
        raise ArenaError(
            f"{rows} rows are too few to learn from", where="--rows", hint=f"give {FEWEST_ROWS} or more, or 0"
        )


def _digest(work: RoundTraining, arms: Sequence[Arm]) -> str:
    """Return what tells an ablation from others of its round: its arms, and all that they share but the seed."""
    params = work.params
    shared = [
        work.fixed,
        work.round.model_dump(mode="json", exclude={"index"}),
        work.measured_by(params),
        choose_precision(params.train),
        getattr(params.train, work.round.method).learnt_by(),
        params.dataset.model_dump(mode="json"),
    ]
    return values_digest([shared, [[arm.name, arm.values, arm.mode] for arm in arms]])


def _run_all(work: RoundTraining, arms: Sequence[Arm], seeds: Sequence[int]) -> dict[str, list[Result]]:
    """Return every arm's results by seed; all arms have one seed before the next begins."""
    done: dict[str, list[Result]] = {arm.name: [] for arm in arms}
    total = len(arms) * len(seeds)
    for number, (seed, arm) in enumerate(((seed, arm) for seed in seeds for arm in arms), 1):
        logger.info(f"arm {arm.name}, seed {seed} ({number} of {total})")
        result = _run_arm(work, arm, seed)
        done[arm.name].append(result)
        logger.info(f"arm {arm.name}, seed {seed}: {_said(result)}")
    return done


def _run_arm(work: RoundTraining, arm: Arm, seed: int) -> Result:
    """Select an arm's rows, and train and measure it unless that was done before."""
    params = override(work.params, {**arm.values, "seed": seed})
    rows, left_out = work.rows(params, fought(arm, work.battles, work.instructions, work.subject, params))
    ids = sorted(row.provenance.instruction_id for row in rows[len(work.earlier) :])
    result: Result = {"seed": seed, "rows": len(rows), "left_out": left_out, "ids": ids, "given_up": ""}
    if len(rows) < FEWEST_ROWS:
        return {**result, "given_up": f"{len(rows)} rows, fewer than {FEWEST_ROWS}"}
    training = work.training(rows, params)
    file = work.paths.ablation_arms / f"{training}-{_measured_by(work)}.json"
    folder = work.paths.ablation_arms / training
    with FileLock(file.with_suffix(".lock")):
        reused = file.is_file()
        if not reused:
            try:
                found = _trained(work, rows, params, folder)
            except InfeasibleError as reason:
                shutil.rmtree(folder, ignore_errors=True)
                return {**result, "training": training, "given_up": str(reason)}
            write_json(file, found)
        known = read_json(file)
        shutil.rmtree(folder, ignore_errors=True)  # a model takes half a gigabyte
    return {**result, **known, "training": training, "reused": reused}


def _measured_by(work: RoundTraining) -> str:
    """Return a digest of all that decides a model's measurement; a trained arm is known again by it."""
    whole = [work.fixed["validation"], work.measured_by(work.params)]
    return values_digest([*whole, work.fixed["judged_by"]] if "judged_by" in work.fixed else whole, 16)


def _trained(work: RoundTraining, rows: Rows, params: Params, own: Path) -> Result:
    """Train on rows in the folder ``own``, and measure the model on the whole validation set."""
    began = time.monotonic()
    folder, trained = work.train(rows, params, own)
    measured = work.measure(folder, work.params, work.held)
    seconds = round(time.monotonic() - began, 1)
    return {"train": trained, **measured._asdict(), "seconds": seconds}


def _report(
    study: str,
    factor: Factor,
    work: RoundTraining,
    arms: Sequence[Arm],
    done: dict[str, list[Result]],
    rows: int,
) -> dict[str, Any]:
    """Return the report; one that shows what an earlier one showed is no further look at the validation set."""
    results = {
        name: [{key: value for key, value in one.items() if key in ("seed", *_KEPT)} for one in found]
        for name, found in done.items()
    }
    digest = values_digest(results, 16)
    path = work.paths.ablations / f"{study}.json"
    if path.is_file():
        earlier: dict[str, Any] = read_json(path)
        if earlier.get("results") == digest:
            logger.info("nothing was trained since the last call: its report is shown, without another look")
            return earlier
    half = marks([turn.model_dump(mode="json") for turn in one.turns] for one in work.held)
    looks = note_look(work.paths, study, half, [])
    judges = list(work.params.evaluate.judges)
    return {
        "name": study,
        "kind": "ablation",
        "factor": factor,
        "round": work.subject,
        "method": work.round.method,
        "start": work.round.init,
        "split": VALIDATION,
        "instructions": len(work.held),
        "rows": rows,
        "rows_earlier": len(work.earlier),
        "seeds": [one["seed"] for one in next(iter(done.values()))],
        "judges": judges,
        "independence": {judge: work.params.independence(judge) for judge in judges},
        "looks": looks,
        "arms": arm_views(arms, done, judges, work.seed, work.params.evaluate.bootstrap),
        "differences": differences(arms, done, judges, work.seed, looks),
        "results": digest,
    }


def _said(result: Result) -> str:
    if result["given_up"]:
        return str(result["given_up"])
    means = (f"{judge} {sum(by.values()) / max(1, len(by)):+.2f}" for judge, by in result["gains"].items())
    how = "known already" if result["reused"] else f"{result['seconds']:.0f} s"
    return f"{result['rows']} rows, {', '.join(means)} ({how})"
