"""The sandwich estimator of the covariance of fitted strengths, by battle or clustered by prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arena_learning.rating.fit import moments

if TYPE_CHECKING:
    from arena_learning.rating.arrays import Floats
    from arena_learning.rating.battles import Battles
    from arena_learning.rating.fold import Folded, Ties

_SCORE_NUMBERS = 16_000_000


def cell_residuals(folded: Folded, theta: Floats, ties: Ties) -> tuple[Floats, Floats | None]:
    """Return the score of one battle in each cell.

    Args:
        folded: the data.
        theta: fitted parameters, ``(parameters,)``.
        ties: how ties count; under ``drop`` a tie's score is 0.

    Returns:
        Points minus expected points of the pair's lower contestant, ``(3 * pairs,)``; and tie minus probability of a
        tie (Davidson only).
    """
    pairs = folded.pairs
    log_nu = theta[-1:] if ties == "davidson" else None
    mean = moments((theta[pairs.lo] - theta[pairs.hi])[:, None], log_nu)
    residual = np.array([-0.5, 0.0, 0.5]) - mean.share
    if ties == "drop":
        residual[:, 1] = 0.0
    tie = None if mean.tie is None else (np.array([0.0, 1.0, 0.0]) - mean.tie).ravel()
    return residual.ravel(), tie


def meat_by_battle(battles: Battles, folded: Folded, theta: Floats, ties: Ties) -> Floats:
    """Sum the outer products of the battles' scores, ``(parameters, parameters)``."""
    pairs, size = folded.pairs, len(theta)
    squares = folded.cells
    if battles.weight is not None:
        mass = battles.repeats * battles.weight**2
        squares = np.bincount(folded.row_cell, weights=mass, minlength=len(folded.cells)).astype(np.float64)
    residual, tie = cell_residuals(folded, theta, ties)
    out = np.zeros((size, size))
    of_pair = (squares * residual**2).reshape(-1, 3).sum(axis=1)
    index = np.arange(pairs.models)
    both = of_pair[:, None]
    out[index, index] = pairs.scatter(both, both)[:, 0]
    out[pairs.lo, pairs.hi] = out[pairs.hi, pairs.lo] = -of_pair
    if tie is not None:
        mixed = (squares * residual * tie).reshape(-1, 3).sum(axis=1)[:, None]
        out[:-1, -1] = out[-1, :-1] = pairs.scatter(mixed, -mixed)[:, 0]
        out[-1, -1] = float((squares * tie**2).sum())
    return out


def meat_by_prompt(battles: Battles, folded: Folded, theta: Floats, ties: Ties) -> Floats:
    """Sum the outer products of the prompts' scores, ``(parameters, parameters)``."""
    assert battles.prompt is not None
    pairs, size, models = folded.pairs, len(theta), folded.pairs.models
    residual, tie = cell_residuals(folded, theta, ties)
    score = residual[folded.row_cell]
    mass = battles.mass
    if mass is not None:
        score *= mass
    pair = folded.row_cell // 3
    lo, hi = pairs.lo.astype(np.int32)[pair], pairs.hi.astype(np.int32)[pair]
    out = np.zeros((size, size))
    for rows, prompt, prompts in _prompt_blocks(battles, size):
        place = prompt.astype(np.int64) * size
        count = prompts * size
        # Both sides in one count: its result is the largest array, and is needed only once.
        sides = np.concatenate([place + lo[rows], place + hi[rows]])
        scores = np.bincount(sides, weights=np.concatenate([score[rows], -score[rows]]), minlength=count)
        table = scores.reshape(prompts, size)
        if tie is not None:
            of_row = tie[folded.row_cell[rows]] * (1.0 if mass is None else mass[rows])
            table[:, models] = np.bincount(prompt, weights=of_row, minlength=prompts)
        out += table.T @ table
    return out


def _prompt_blocks(battles: Battles, size: int) -> list[tuple[slice | np.ndarray, np.ndarray, int]]:
    """Divide the prompts into blocks whose scores fit into memory: rows, codes within the block, number."""
    assert battles.prompt is not None
    block = max(1, _SCORE_NUMBERS // size)
    if battles.prompts <= block:
        return [(slice(None), battles.prompt, battles.prompts)]
    order = np.argsort(battles.prompt, kind="stable")
    sorted_prompt = battles.prompt[order]
    out: list[tuple[slice | np.ndarray, np.ndarray, int]] = []
    for first in range(0, battles.prompts, block):
        last = min(first + block, battles.prompts)
        cut = slice(*np.searchsorted(sorted_prompt, [first, last]))
        out.append((order[cut], sorted_prompt[cut] - first, last - first))
    return out
