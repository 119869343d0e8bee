"""Add rounds to params.yaml: the next stage of an iteration, or all of it, with its links.

The links are those of the paper's Table 1. Every SFT starts from the base, with battles of the last model; DPO
continues from its iteration's SFT, and the third stage from its DPO: PPO, or RLOO or GRPO where an earlier iteration
had that. Each adds its rows to those of the last round of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.tokens import CommentToken

from arena_learning.core import ArenaError, write_text
from arena_learning.params import BASE, NONE, SPLITS, Params, Round, check_rounds, load_params, parse_params

LAST_STAGES = ("ppo", "rloo", "grpo")
_THRESHOLDS = {
    "sft": 1.0,
    "dpo": 2.0,
    "ppo": 1.0,
}  # without an earlier round of that kind; the others read none
_NAME = re.compile(r"(sft|dpo|ppo|rloo|grpo)-i(\d+)")


class AddedRounds(NamedTuple):
    """A round to add: its name, its fields, and the size of its split if that is new (else 0)."""

    name: str
    fields: Round
    new_size: int


def add_rounds(
    path: Path, *, whole: bool, thresholds: Sequence[float] = (), size: int = 0
) -> list[AddedRounds]:
    """Plan the rounds that follow those of the params.yaml at ``path``; writes nothing.

    Args:
        path: params.yaml.
        whole: plan the rest of the iteration (a whole one, if the last is complete) instead of one stage.
        thresholds: K of each added round, in order; the others take that of the last round of the same kind.
        size: instructions of a new split; 0: as many as the last round's split.

    Raises:
        ArenaError: the names do not follow ``sft-i1, dpo-i1, ppo-i1, sft-i2, ...``, no split is left, or there are
            more thresholds than rounds.
    """
    params = load_params(path)
    check_rounds(params)
    third = next(
        (m for n in reversed(params.ordered_rounds) if (m := params.rounds[n].method) in LAST_STAGES), "ppo"
    )
    names = _next_names(params.ordered_rounds, whole, third)
    if len(thresholds) > len(names):
        raise ArenaError(
            f"{len(thresholds)} thresholds are given for {len(names)} rounds ({', '.join(names)})",
            where="--threshold",
            hint="give at most one for each round, in order",
        )
    rounds, sizes = dict(params.rounds), dict(params.pool.splits)
    added = []
    for number, name in enumerate(names):
        given = thresholds[number] if number < len(thresholds) else None
        split, new_size = _split(rounds, sizes, size)
        fields = _linked(name, split, rounds, given)
        rounds[name] = fields
        sizes[split] = sizes.get(split, 0) or new_size
        added.append(AddedRounds(name, fields, new_size))
    return added


def _next_names(ordered: Sequence[str], whole: bool, third: str) -> list[str]:
    """Return the names that follow the last round's; ``third`` is the method behind DPO."""
    if not ordered:
        method, iteration = "sft", 1
    else:
        found = _NAME.fullmatch(ordered[-1])
        if not found:
            raise ArenaError(
                f"the last round is called '{ordered[-1]}', from which the next name does not follow",
                where="params.yaml, rounds",
                hint="call it METHOD-iN, such as sft-i1, dpo-i1 or ppo-i1, or write the next round by hand",
            )
        method, iteration = _after(found[1], int(found[2]), third)
    names = [f"{method}-i{iteration}"]
    while whole and method not in LAST_STAGES:
        method, iteration = _after(method, iteration, third)
        names.append(f"{method}-i{iteration}")
    return names


def _after(method: str, iteration: int, third: str) -> tuple[str, int]:
    """Return the stage after this one (iteration 0 has only an SFT, as in the paper)."""
    if method in LAST_STAGES or iteration == 0:
        return "sft", iteration + 1
    return ("dpo" if method == "sft" else third), iteration


def _linked(name: str, split: str, rounds: Mapping[str, Round], threshold: float | None) -> Round:
    method, iteration = name.split("-i")
    ordered = sorted(rounds, key=lambda r: rounds[r].index)
    last = ordered[-1] if ordered else BASE
    same = [r for r in ordered if rounds[r].method == method]
    before = {"dpo": f"sft-i{iteration}", "sft": last}.get(method, f"dpo-i{iteration}")
    if method != "sft" and before not in rounds:
        raise ArenaError(
            f"{name} continues from {before}, which is not in params.yaml",
            where="params.yaml, rounds",
            hint=f"add {before} first",
        )
    if threshold is None:
        threshold = rounds[same[-1]].threshold if same else _THRESHOLDS.get(method, 0.0)
    return Round(
        index=rounds[last].index + 1 if ordered else 0,
        method=method,  # type: ignore[arg-type]
        split=split,
        target=before,
        init=BASE if method == "sft" else before,
        threshold=threshold,
        adds_to=same[-1] if same and method in _THRESHOLDS else NONE,
    )


def _split(rounds: Mapping[str, Round], sizes: Mapping[str, int], size: int) -> tuple[str, int]:
    """Return an unused split and the size to give it (0 if it has one).

    A split without instructions is used only after all others that have some: splits are drawn in order, so an earlier
    one would redraw the instructions of later splits, which earlier rounds have been trained on.
    """
    used = {this.split for this in rounds.values()}
    filled = [name for name in SPLITS if sizes.get(name)]
    free = [name for name in filled if name not in used]
    later = [name for name in free if not used or SPLITS.index(name) > max(map(SPLITS.index, used))]
    if later or free:
        return (later or free)[0], 0
    after = SPLITS[SPLITS.index(filled[-1]) + 1 :] if filled else SPLITS
    if not after:
        raise ArenaError(
            "no split is left: d0 to d9 are all used",
            where="params.yaml, pool.splits",
            hint="start a second schedule (another clone) from the last model: weights.source: models/<round>",
        )
    as_before = sizes[filled[-1]] if filled else 0
    if not (size or as_before):
        raise ArenaError(
            "the size of the new split is unknown", where="params.yaml, pool.splits", hint="give --size"
        )
    return after[0], size or as_before


def write_added(path: Path, added: Sequence[AddedRounds]) -> None:
    """Write the rounds into params.yaml, keeping its comments, order and style.

    Raises:
        ArenaError: the result would be invalid; nothing is written.
    """
    yaml = YAML()
    yaml.width = 4096  # keeps a round on one line
    yaml.preserve_quotes = True
    tree: Any = yaml.load(path.read_text(encoding="utf-8"))
    for name, fields, new_size in added:
        if new_size:
            _append(tree["pool"]["splits"], fields.split, new_size)
        row = CommentedMap(fields.model_dump())
        row.fa.set_flow_style()
        _append(tree["rounds"], name, row)
    text = StringIO()
    yaml.dump(tree, text)
    check_rounds(_parsed(text.getvalue(), path))
    write_text(path, text.getvalue())


def _parsed(text: str, path: Path) -> Params:
    return parse_params(YAML(typ="safe").load(text), path.name)


def _append(mapping: CommentedMap, key: str, value: object) -> None:
    """Add a key at the end, before the comment lines between the last key and the next section.

    ruamel attaches those lines to the last key before them, at any depth.
    """
    holder: CommentedMap = mapping
    while (last := next(reversed(holder), None)) is not None:
        if not isinstance(holder[last], CommentedMap) or last in holder.ca.items or not holder[last]:
            break
        holder = holder[last]
    mapping[key] = value
    token = (holder.ca.items.get(last) or [None] * 3)[2]
    if token is None or token.value.count("\n") < 2:
        return
    side, _, rest = token.value.partition("\n")
    token.value = f"{side}\n"
    mapping.ca.items[key] = [None, None, CommentToken(f"\n{rest}", token.start_mark), None]
