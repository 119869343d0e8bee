"""Opens what an online round is trained with: its split, the opponents' answers, two judges and the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from arena_learning.core import Paths, logger
from arena_learning.params import Params, shared_criteria
from arena_learning.schema import Instruction, Response, read_rows

if TYPE_CHECKING:
    from arena_learning.train.online.group_judge import RewardInputs


@contextmanager
def open_rewards(name: str, params: Params, paths: Paths) -> Iterator[RewardInputs]:
    """Open the judges and the store of round ``name`` and read its instructions; closed at the end of the block.

    Raises:
        ArenaError: the split is not prepared, or a judge cannot be opened.
    """
    from arena_learning.judge import open_judge
    from arena_learning.store import Account, Store
    from arena_learning.train.online.group_judge import RewardInputs

    this = params.rounds[name]
    settings = params.train.online(this.method)
    if shared_criteria(this, params):
        logger.warning(
            f"train.{this.method}: {settings.judge} and {settings.monitor} both score by the rubrics, so the "
            "monitor cannot show that the rubrics are gamed; name a monitor of another kind"
        )
    opponents: dict[str, list[Response]] = defaultdict(list)
    for response in read_rows(paths.responses(name), Response):
        if response.contestant in params.opponents:
            opponents[response.instruction_id].append(response)
    instructions = read_rows(paths.split(this.split), Instruction)
    with (
        closing(open_judge(settings.judge, params, paths)) as judge,
        closing(open_judge(settings.monitor, params, paths)) as monitor,
        Store(paths.store, account=Account("train", params, name)) as store,
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
