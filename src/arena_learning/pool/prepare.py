"""The `prepare` stage: divides the pool into disjoint splits, a validation and a test set; every drop is counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from arena_learning.core import ArenaError, Paths, canonical, write_json, write_text
from arena_learning.params import NONE, SPLITS, Filters, Params
from arena_learning.pool.card import PreparedPool, choose_examples
from arena_learning.pool.categories import NO_CATEGORY, with_categories
from arena_learning.pool.contamination import drop_contaminated
from arena_learning.pool.embeddings import EmbeddedBy, Embedder, shared_embedder
from arena_learning.pool.evaluation_sets import (
    ChosenSet,
    choose_test_set,
    hard_candidates,
    read_difficulties,
)
from arena_learning.pool.filters import conversation_text, filter_instructions
from arena_learning.pool.identity import fingerprint
from arena_learning.pool.instructions import PoolFiles, read_benchmarks
from arena_learning.pool.read import read_answers, with_references
from arena_learning.pool.split import draw, fill_in_order
from arena_learning.schema import Instruction, write_rows

HELD_OUT = ("validation", "test")
_DRAWN = ("test", "validation")  # the order of the draws


def prepare_pool(params: Params, paths: Paths) -> dict[str, Any]:
    """Write the prepared files and return the data card.

    Raises:
        ArenaError: a malformed row in the pool, a model or package that a filter needs is missing, or too few
            instructions for the splits.
    """
    pool = params.pool
    files, benchmarks = _read(params, paths)
    instructions = files.instructions
    if pool.references:
        place = paths.user_file(pool.references, "pool.references", outside=params.files_outside)
        instructions = with_references(instructions, read_answers(place))
    prepared = split_pool(
        instructions,
        params.model_copy(update={"pool": pool.model_copy(update={"filters": _placed(pool.filters, paths)})}),
        _embedder(params, paths),
        flagged=files.flagged,
        benchmarks=benchmarks,
        difficulties=_difficulties(params, paths),
    )
    for name, rows in prepared.splits.items():
        write_rows(paths.split(name), sorted(rows, key=lambda i: i.id))
    for path in (paths.split(NONE), paths.sft(NONE), paths.preferences(NONE)):
        write_rows(path, [])
    lines = [canonical(asdict(row)) + "\n" for row in sorted(prepared.dropped)]
    write_text(paths.dropped, "".join(lines))
    chosen = prepared.test_set.card() if prepared.test_set else {}
    test_set = {"kind": pool.test_set, "fingerprint": fingerprint(prepared.splits["test"]), **chosen}
    card = {**files.card(), "benchmarks": len(benchmarks), **prepared.card(), "test_set": test_set}
    write_json(paths.prepare_card, card)
    return card


def embed_pool(params: Params, paths: Paths) -> dict[str, int]:
    """Compute and save the embeddings that `prepare_pool` will need, so that it only looks them up.

    A killed call goes on where it was, and a text that any earlier run embedded is not embedded again.

    Returns:
        Numbers of texts: ``texts`` in all, ``computed`` now.

    Raises:
        ArenaError: as in `prepare_pool`.
    """
    files, benchmarks = _read(params, paths)
    filters = _placed(params.pool.filters, paths)
    kept, _ = filter_instructions(files.instructions, filters, files.flagged)
    kept, _ = drop_contaminated(kept, benchmarks, _lexical(filters))
    texts = list(dict.fromkeys(conversation_text(one) for one in [*kept, *benchmarks]))
    return {"texts": len(texts), "computed": _embedder(params, paths).compute_missing(texts)}


def difficulty_candidates(params: Params, paths: Paths) -> list[Instruction]:
    """Return the instructions of the pool whose difficulty `prepare_pool` will look up for a hard test set.

    Clusters and vectors are kept, so that `prepare_pool` finds the same.

    Raises:
        ArenaError: as in `prepare_pool`; or the test set needs no difficulties.
    """
    pool = params.pool
    if pool.test_set not in ("hard", "mix"):
        raise ArenaError(
            f"no difficulty counts for test_set: {pool.test_set}",
            where="params.yaml, pool.test_set",
            hint="set it to hard or mix",
        )
    files, benchmarks = _read(params, paths)
    filters, embedder = _placed(pool.filters, paths), _embedder(params, paths)
    kept, _ = filter_instructions(files.instructions, filters, files.flagged)
    kept, _ = drop_contaminated(kept, benchmarks, filters, embedder)
    return hard_candidates(kept, pool, params.seed, embedder)


def split_pool(
    instructions: Sequence[Instruction],
    params: Params,
    embedder: Embedder | None = None,
    *,
    flagged: Collection[str] = (),
    benchmarks: Sequence[Instruction] = (),
    difficulties: Mapping[str, float] | None = None,
) -> PreparedPool:
    """Filter the pool, hold out test and validation set, decontaminate the rest against them, fill the splits.

    Args:
        instructions: the pool.
        params: filters, sizes and seed.
        embedder: computes sentence embeddings; by default the process's shared one.
        flagged: ids of instructions that their source has flagged as toxic.
        benchmarks: items that neither the splits nor the held-out sets may be close to.
        difficulties: rated difficulties by id, for test sets of hard instructions.

    Raises:
        ArenaError: too few instructions, or a model or package that a filter needs is missing.
    """
    pool, filters = params.pool, params.pool.filters
    kept, dropped = filter_instructions(instructions, filters, flagged)
    kept, known = drop_contaminated(kept, benchmarks, filters, embedder)
    without = sum(one.category == NO_CATEGORY for one in kept) if pool.categories else 0
    kept = with_categories(kept, pool.categories, embedder or shared_embedder()) if without else kept
    splits, kept, chosen = _hold_out(kept, params, difficulties or {}, embedder)
    held_out = [item for name in _DRAWN for item in splits[name]]
    kept, close = drop_contaminated(kept, held_out, filters, embedder)
    sizes = {name: pool.splits.get(name, 0) for name in SPLITS}
    if pool.split_by == "hash":
        order = {instruction.id: number for number, instruction in enumerate(instructions)}
        filled, kept = fill_in_order(sorted(kept, key=lambda i: order[i.id]), sizes, params.seed)
        splits |= filled
    else:
        for name, size in sizes.items():
            splits[name], kept = draw(kept, size, params.seed, name) if size else ([], kept)
    for name, size in sizes.items():
        _demand(name, size, len(splits[name]))
    dropped = [*dropped, *known, *close]
    examples = choose_examples(dropped, instructions, [*held_out, *benchmarks], params.seed)
    unused = [i.id for i in kept]
    return PreparedPool(splits, dropped, len(instructions), unused, examples, without, chosen)


def _hold_out(
    kept: list[Instruction], params: Params, difficulties: Mapping[str, float], embedder: Embedder | None
) -> tuple[dict[str, list[Instruction]], list[Instruction], ChosenSet | None]:
    """Return the test and the validation set, the rest, and how the test set was chosen unless it was drawn."""
    pool, chosen = params.pool, None
    sizes = {"test": pool.test, "validation": pool.validation}
    if pool.split_by == "hash":
        # The rows for training take their turns too, or the first rows of the pool would all be held out.
        splits, rest = fill_in_order(kept, {**sizes, "train": sum(pool.splits.values())}, params.seed)
        rest = [*splits.pop("train"), *rest]
    else:
        splits, rest = {}, kept
        if pool.test_set != "draw":
            chosen = choose_test_set(rest, pool, params.seed, difficulties, embedder)
            splits["test"], rest = chosen.instructions, chosen.rest
        for name in (name for name in _DRAWN if name not in splits):
            splits[name], rest = draw(rest, sizes[name], params.seed, name)
    for name in _DRAWN:
        _demand(name, sizes[name], len(splits[name]))
    return splits, rest, chosen


def _read(params: Params, paths: Paths) -> tuple[PoolFiles, list[Instruction]]:
    """Return the pool's files and the benchmark items that params.yaml names."""
    pool, outside = params.pool, params.files_outside
    files = PoolFiles()
    files.read(paths.user_file(pool.instructions, "pool.instructions", outside=outside), strict=pool.strict)
    places = [paths.user_file(name, "pool.benchmarks", outside=outside) for name in pool.benchmarks]
    return files, read_benchmarks(places, strict=pool.strict)


def _embedder(params: Params, paths: Paths) -> Embedder:
    return shared_embedder(paths.vectors, EmbeddedBy(params.pool.embed_precision, params.pool.embed_device))


def _difficulties(params: Params, paths: Paths) -> dict[str, float]:
    name, kind = params.pool.difficulties, params.pool.test_set
    if not name or kind not in ("hard", "mix"):
        return {}
    path = paths.user_file(name, "pool.difficulties", outside=params.files_outside)
    if not path.is_file():
        raise ArenaError(
            f"no such file: {name}",
            where="params.yaml, pool.difficulties",
            hint="`arena difficulty` lets a judge rate them and writes it; or remove the key",
        )
    return read_difficulties(path)


def _placed(filters: Filters, paths: Paths) -> Filters:
    """Return the filters with the paths of models that lie in the project; other names are hub ids."""
    names = {name: getattr(filters, name) for name in ("tokenizer", "toxic_model")}
    return filters.model_copy(
        update={
            name: str(paths.root / value)
            for name, value in names.items()
            if value and (paths.root / value).exists()
        }
    )


def _lexical(filters: Filters) -> Filters:
    """Return the filters without those that need embeddings."""
    return filters.model_copy(update={"contamination": 0.0, "nearest": 0})


def _demand(name: str, wanted: int, drawn: int) -> None:
    if drawn < wanted:
        raise ArenaError(
            f"the pool has only {drawn} instructions left for '{name}', which needs {wanted}",
            where="params.yaml, pool",
            hint="add instructions to the pool, relax pool.filters, or make the splits smaller",
        )
