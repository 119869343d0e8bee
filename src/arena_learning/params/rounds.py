"""Checks the chain of rounds before anything runs: each reference exists, is earlier, and fits."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from arena_learning.core import ArenaError, suggest
from arena_learning.params import NONE, SPLITS, Params, Round

BASE = "base"
# Kinds of judges that score one answer by itself.
SCORES_ALONE = ("rubric", "reference", "reward")
_REFERENCES = ("target", "init", "adds_to")


def check_round_name(name: str, params: Params) -> None:
    """Raise an `ArenaError` if there is no round called ``name``."""
    if name not in params.rounds:
        raise ArenaError(f"no round '{name}'", where="params.yaml, rounds", hint=suggest(name, params.rounds))


def check_rounds(params: Params) -> None:
    """Check that the rounds can run one after the other.

    Raises:
        ArenaError: all problems, one per line, each with its key and how to fix it.
    """
    problems = [*_shared(params, "index"), *_shared(params, "split"), *_cycle(params)]
    for name in params.ordered_rounds:
        this = params.rounds[name]
        found = (
            *_references(name, params),
            *_split(this, params),
            *_labels(name, params),
            *_continued(this, params),
            *_sampled(this, params),
            *_rewarded(this, params),
        )
        problems += [f"rounds.{name}.{line}" for line in found]
    methods = dict.fromkeys(params.rounds[name].method for name in params.ordered_rounds)
    problems += [line for method in methods for line in params.train.launch_problems(method)]
    if problems:
        raise ArenaError("\n  " + "\n  ".join(problems), where="params.yaml")


def _shared(params: Params, field: str) -> Iterator[str]:
    """Yield duplicate values: indices must order the rounds, and a split must not be trained on twice."""
    owners: dict[object, str] = {}
    for name, this in params.rounds.items():
        value = getattr(this, field)
        if value in owners:
            yield f"rounds.{name}.{field}: {value} is already used by {owners[value]}; give each round its own"
        owners.setdefault(value, name)


def _cycle(params: Params) -> Iterator[str]:
    graph = {name: [r for _, r in _named(this) if r in params.rounds] for name, this in params.rounds.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        way = " -> ".join(reversed(error.args[1]))
        yield f"rounds: the rounds form a cycle, {way}; let each round refer to earlier ones only"


def _named(this: Round) -> list[tuple[str, str]]:
    return [(field, getattr(this, field)) for field in _REFERENCES]


def _references(name: str, params: Params) -> Iterator[str]:
    this = params.rounds[name]
    base = {BASE} if params.has_base else set()
    outside = {"target": {*base, NONE}, "init": base, "adds_to": {NONE}}
    for field, other in _named(this):
        if other in outside[field]:
            continue
        if other not in params.rounds:
            known = outside[field] | set(params.rounds) - {name}
            why = "" if params.has_base or other != BASE else " (weights.source is none)"
            yield f"{field}: no model '{other}'{why}; {suggest(other, known)}"
        elif params.rounds[other].index >= this.index:
            yield (
                f"{field}: '{other}' is not earlier (index {params.rounds[other].index}, this round has "
                f"{this.index}); name an earlier round or raise the index"
            )


def _split(this: Round, params: Params) -> Iterator[str]:
    if this.split not in SPLITS:
        yield f"split: no training split '{this.split}'; {suggest(this.split, SPLITS)}"
    elif not params.pool.splits.get(this.split):
        yield f"split: {this.split} has no instructions; give it a size in pool.splits"


def _labels(name: str, params: Params) -> Iterator[str]:
    this = params.rounds[name]
    if this.target != NONE:
        if this.labels != NONE:
            yield f"labels: '{this.labels}' is given beside the target '{this.target}'; set one of the two to none"
        if not params.opponents_of(name) and not params.samples_of(name):
            yield "target: no opponent has joined by this round; add one to opponents, or let one join earlier"
    elif this.online:
        if compared := [f"{role} '{name}'" for role, name in _compares_opponents(this, params)]:
            yield (
                f"target: the {' and the '.join(compared)} compares answers with those of the opponents, and only a "
                f"round with a target has these; name a target, or set train.{this.method}.against to group"
            )
    elif this.method != "sft":
        yield f"target: {this.method} learns from battles and needs a target; name a model, or use method sft"
    elif this.labels == NONE:
        yield "target: with neither target nor labels there is nothing to learn; name one of the two"
    if this.labels not in (NONE, *params.opponents):
        yield f"labels: no opponent '{this.labels}'; {suggest(this.labels, params.opponents)}"


def _continued(this: Round, params: Params) -> Iterator[str]:
    earlier = params.rounds.get(this.adds_to)
    if earlier and earlier.method != this.method:
        yield (
            f"adds_to: {this.method} cannot add to the rows of '{this.adds_to}', which is {earlier.method}; "
            f"name a {this.method} round or none"
        )


def _sampled(this: Round, params: Params) -> Iterator[str]:
    if this.method == "rft" and params.battle.samples < 2:
        yield (
            f"method: rft learns the best of the target's samples, and battle.samples is {params.battle.samples}; set "
            "it to 2 or more"
        )


def _rewarded(this: Round, params: Params) -> Iterator[str]:
    """Check the judges of an online round."""
    if not this.online:
        return
    place = f"train.{this.method}"
    found = params.train.online(this.method)
    for role, name in (("judge", found.judge), ("monitor", found.monitor)):
        if not name:
            what = "a judge that rewards its answers" if role == "judge" else "a second judge as a monitor"
            yield f"method: {this.method} needs {what}; name one in {place}.{role}: {', '.join(params.judges)}"
        elif name not in params.judges:
            yield f"method: no judge '{name}' in judges ({place}.{role}); {suggest(name, params.judges)}"
        elif recorded := [one for one in params.single_judges(name) if params.judges[one].kind == "replay"]:
            yield (
                f"method: {place}.{role} '{recorded[0]}' only has recorded verdicts, none on new answers; name another "
                "judge"
            )
    if {found.judge, found.monitor} <= set(params.judges) and _in_both(found.judge, found.monitor, params):
        yield (
            f"method: {place}.judge '{found.judge}' and {place}.monitor '{found.monitor}' share the member "
            f"'{_in_both(found.judge, found.monitor, params)}', so the monitor cannot show that the reward is hacked; "
            "name another judge"
        )
    if found.judge and found.judge == found.monitor:
        yield (
            f"method: {place}.monitor is '{found.judge}', which gives the reward; name another judge, which can show "
            "that the reward is hacked"
        )
    if this.adds_to != NONE:
        yield f"adds_to: {this.method} does not train on rows; set it to none"
    if this.labels != NONE:
        yield f"labels: {this.method} does not train on labels; set it to none"


def shared_criteria(this: Round, params: Params) -> bool:
    """Whether an online round's judge and monitor both score by the rubrics, so that they rise and fall together."""
    found = params.train.online(this.method)
    kinds = [
        {params.judges[one].kind for one in params.single_judges(name)}
        for name in (found.judge, found.monitor)
    ]
    return kinds == [{"rubric"}, {"rubric"}]


def scores_alone(name: str, params: Params) -> bool:
    """Whether judge ``name`` scores one answer by itself; of juries only one that takes the mean of such judges."""
    judge = params.judges[name]
    if judge.kind == "jury" and judge.combine != "mean":
        return False
    return all(params.judges[one].kind in SCORES_ALONE for one in params.single_judges(name))


def _in_both(judge: str, monitor: str, params: Params) -> str:
    """Return a judge that has a say in both of two different judges; empty if there is none."""
    if judge == monitor:
        return ""
    others = params.single_judges(monitor)
    return next((one for one in params.single_judges(judge) if one in others), "")


def _compares_opponents(this: Round, params: Params) -> list[tuple[str, str]]:
    """Return role and name of the judges that compare an online round's answers with the opponents'."""
    found = params.train.online(this.method)
    roles = (("judge", found.judge, found.reward), ("monitor", found.monitor, "score"))
    return [
        (role, name)
        for role, name, reward in roles
        if name in params.judges
        and found.against != "group"
        and not (reward == "score" and scores_alone(name, params))
    ]
