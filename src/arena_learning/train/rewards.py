"""What a round that learns from a judge's word is given: its split, the opponents' answers, two judges, the store."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from arena_learning.core import Paths
from arena_learning.params import Params, shared_criteria
from arena_learning.schema import Instruction, Response, read_rows

if TYPE_CHECKING:
    from arena_learning.train.group_judge import RewardInputs


@contextmanager
def reward_inputs(name: str, params: Params, paths: Paths) -> Iterator[RewardInputs]:
    """Read what round ``name`` learns from and open its judges and the store; all are closed behind the block.

    Raises:
        ArenaError: the split is not prepared, or a judge cannot be opened.
    """
    from arena_learning.judge import open_judge
    from arena_learning.store import Store
    from arena_learning.train.group_judge import RewardInputs

    this = params.rounds[name]
    settings = params.train.rloo if this.method == "rloo" else params.train.grpo
    if shared_criteria(this, params):
        sys.stderr.write(
            f"warning: train.{this.method}: {settings.judge} and {settings.monitor} both read the rubrics, one with "
            "fewer criteria: what games the one games the other; a monitor of another kind says more\n"
        )
    opponents: dict[str, list[Response]] = defaultdict(list)
    for response in read_rows(paths.responses(name), Response):
        if response.contestant in params.opponents:
            opponents[response.instruction_id].append(response)
    instructions = read_rows(paths.split(this.split), Instruction)
    with (
        closing(open_judge(settings.judge, params, paths)) as judge,
        closing(open_judge(settings.monitor, params, paths)) as monitor,
        Store(paths.store) as store,
    ):
        yield RewardInputs(
            instructions,
            dict(opponents),
            judge,
            monitor,
            store,
            disagree=params.judge.disagree,
            max_refused=params.serving.max_refused,
        )
