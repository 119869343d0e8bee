"""`battle` and `judge_answers`: contestants answer, a judge compares; without a project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.api.frames import battle_frame, frame_of, responses_of
from arena_learning.api.instructions import read_instructions
from arena_learning.core import ArenaError, Paths
from arena_learning.schema import Response, by_id

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.api.instructions import Questions
    from arena_learning.engines import Engine
    from arena_learning.judge import Judge
    from arena_learning.params import Params

_NAME = "judge"


def battle(
    instructions: Questions,
    contestants: Mapping[str, Mapping[str, Any] | Engine],
    *,
    sampling: Mapping[str, Any] | None = None,
    serving: Mapping[str, Any] | None = None,
    folder: str | Path = ".",
) -> pd.DataFrame:
    """Let contestants answer instructions.

    Answers are kept in ``folder/.arena``: a second call generates only what is new.

    Args:
        instructions: texts, a data frame or a file; see `read_instructions`.
        contestants: by name, the keys of an opponent in params.yaml (``engine``, ``model``, ``base_url``, ...), or an
            `Engine` of your own.
        sampling: keys of ``sampling`` in params.yaml, such as ``max_tokens``.
        serving: keys of ``serving`` in params.yaml, such as ``dtype`` and ``batch_size``.
        folder: where relative paths start, and whose ``.arena`` keeps the answers.

    Returns:
        A row an answer, with the columns of `Response`: ``instruction_id``, ``contestant``, ``text``, ...

    Raises:
        ArenaError: a key is unknown, or a contestant cannot be opened or answer.

    Example::

        served = {"engine": "openai", "base_url": "http://localhost:8000/v1"}
        answers = al.battle(["Why is the sky blue?"], {"small": {**served, "model": "small"}})
    """
    from arena_learning.arena import Contestant, ask_contestant_for
    from arena_learning.engines import open_opponent
    from arena_learning.store import Account, Store

    asked = read_instructions(instructions)
    settings = {name: one for name, one in contestants.items() if isinstance(one, Mapping)}
    params = _params(opponents=settings, sampling=sampling or {}, serving=serving or {})
    paths = Paths(Path(folder).resolve())
    rows: list[Response] = []
    for name, one in contestants.items():
        opponent = params.opponents.get(name)
        if opponent is None:
            engine, own = one, params.sampling  # an engine of the user's, who also closes it
        else:
            engine = open_opponent(opponent, params, paths, asked, where=f"contestants.{name}")
            own = opponent.sampling or params.sampling
        try:
            with Store(paths.store, account=Account("python", params)) as store:
                contestant = Contestant(name, engine, own)  # type: ignore[arg-type]  # a Mapping is no Engine
                found = ask_contestant_for(contestant, asked, store, max_refused=params.serving.max_refused)
                rows += found.responses
        finally:
            if opponent is not None:
                engine.close()  # type: ignore[union-attr]
    return frame_of(rows, Response)


def judge_answers(
    answers: pd.DataFrame,
    instructions: Questions,
    judge: Mapping[str, Any] | Judge,
    *,
    disagree: str = "average",
    serving: Mapping[str, Any] | None = None,
    folder: str | Path = ".",
) -> pd.DataFrame:
    """Judge every pair of contestants on every instruction that both answer.

    In both orders, unless the judge scores each answer alone. Verdicts are kept in ``folder/.arena``: a second call
    judges only what is new.

    Args:
        answers: columns ``instruction_id``, ``contestant`` and ``text``, as `battle` returns them.
        instructions: what was asked; see `read_instructions`. Rubrics and references are read from here.
        judge: the keys of a judge in params.yaml (``kind``, ``model``, ...), or a `Judge` of your own.
        disagree: what becomes of a battle whose two orders disagree: ``average``, ``tie`` or ``drop``.
        serving: keys of ``serving`` in params.yaml.
        folder: where relative paths start, and whose ``.arena`` keeps the verdicts.

    Returns:
        A row a battle, ready for `rate`: ``model_a``, ``model_b``, ``winner``, ``prompt_id`` (the instruction), and
        ``score_a``, ``score_b`` (1 to 10), ``gap``, ``orders_agree``, ``unscored`` (why there is no winner), ...

    Raises:
        ArenaError: a key is unknown, the judge cannot be opened, an answer is malformed or answers nothing asked.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> import arena_learning as al
        >>> answers = pd.DataFrame({
        ...     "instruction_id": ["q1", "q1"], "contestant": ["short", "long"], "text": ["Light.", "Light scatters."]
        ... })
        >>> battles = al.judge_answers(
        ...     answers, ["Why is the sky blue?"], {"kind": "longer"}, folder=tempfile.mkdtemp()
        ... )
        >>> battles[["model_a", "model_b", "winner"]].values.tolist()
        [['long', 'short', 'model_a']]
    """
    from arena_learning.judge import Pairing, open_judge, play_games
    from arena_learning.store import Account, Store

    asked = by_id(read_instructions(instructions))
    responses = {(one.instruction_id, one.contestant): one for one in responses_of(answers, "answers")}
    unknown = sorted({instruction for instruction, _ in responses} - asked.keys())
    if unknown:
        raise ArenaError(
            f"{len(unknown)} answers are to no instruction here, such as {unknown[0]!r}",
            where="answers",
            hint="the column instruction_id holds the instructions' ids",
        )
    paths = Paths(Path(folder).resolve())
    own = isinstance(judge, Mapping)
    params = _params(judges={_NAME: judge} if own else None, serving=serving or {}, disagree=disagree)
    opened: Any = open_judge(_NAME, params, paths) if own else judge
    who: dict[str, list[str]] = defaultdict(list)
    for instruction, name in sorted(responses):
        who[instruction].append(name)
    pairings = [
        Pairing(instruction, a, b) for instruction, names in who.items() for a, b in combinations(names, 2)
    ]
    try:
        with Store(paths.store, account=Account("python", params)) as store:
            played = play_games(
                pairings,
                asked,
                responses,
                opened,
                store,
                disagree=params.judge.disagree,
                max_refused=params.serving.max_refused,
            )
    finally:
        if own:
            opened.close()
    return battle_frame(played.battles)


def _params(
    *,
    opponents: Mapping[str, Any] | None = None,
    judges: Mapping[str, Any] | None = None,
    sampling: Mapping[str, Any] | None = None,
    serving: Mapping[str, Any],
    disagree: str = "average",
) -> Params:
    """Return parameters of what was named, without weights, pool and rounds; they are checked as params.yaml is."""
    from arena_learning.params import parse_params

    judges = judges or {_NAME: {"kind": "longer"}}
    (name,) = judges
    return parse_params(
        {
            "files_outside": True,
            "weights": {"source": "not-used"},
            "pool": {"splits": {}, "test": 1},
            "opponents": {one: dict(keys) for one, keys in (opponents or {}).items()},
            "judges": {one: dict(keys) for one, keys in judges.items()},
            "judge": {"name": name, "disagree": disagree},
            "evaluate": {"judges": [name]},
            "sampling": dict(sampling or {}),
            "serving": {"engine": "transformers", "dtype": "fp32", **serving},
            "rounds": {},
        },
        "arguments",
    )
