"""What `arena init` changes in a profile for a first own run: model, judge, opponents, sizes of the splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml.comments import CommentedMap

from arena_learning.core import ArenaError, Paths
from arena_learning.params import BASE, NONE, Endpoint
from arena_learning.project.endpoints import only_model
from arena_learning.project.own_pool import StarterPool

JUDGE = "llm"
# Of one's own pool, the share that the filters of stage `prepare` may drop before the splits no longer fit.
_SLACK = 0.2
_ENDPOINT = re.compile(r"(?:(.+)@)?(https?://\S+)")
_NEEDS = {"rubric": "rubrics", "reference": "references"}


class FirstRun(NamedTuple):
    """What the user asks of the first run; an empty value keeps the profile's.

    Attributes:
        pool: file of instructions.
        model: source of the base model: a hub id, a folder or ``pypi:PACKAGE/FILE``.
        judge: an endpoint's judge, ``MODEL@URL`` or ``URL`` alone if it serves one model.
        opponents: contestants, each ``NAME=ANSWERS.jsonl``, ``NAME=MODEL@URL`` or ``NAME=MODEL``.
        api_key_env: environment variable that holds the endpoints' key.
    """

    pool: Path | None = None
    model: str = ""
    judge: str = ""
    opponents: Sequence[str] = ()
    api_key_env: str = ""


def adapt(tree: Any, wanted: FirstRun, pool: StarterPool, paths: Paths) -> list[str]:
    """Change a profile's ``tree`` in place; return what was changed, a sentence each.

    Raises:
        ArenaError: an option cannot be read, or judge or opponents are missing for the user's instructions.
    """
    said: list[str] = []
    if wanted.model:
        tree["weights"]["source"] = _here(wanted.model, paths)
        said.append(f"weights.source: {tree['weights']['source']}")
    if wanted.opponents:
        tree["opponents"] = _opponents(wanted, str(tree["serving"]["engine"]), paths)
    elif pool.own:
        answers = {
            name: {"engine": "recorded", "model": f"data/opponents/{name}.jsonl"} for name in pool.answers
        }
        if not answers:
            raise ArenaError(
                "the file has instructions and no answers, so the model has no opponent",
                where="--pool",
                hint="name one with --opponent NAME=ANSWERS.jsonl, NAME=MODEL@URL or NAME=MODEL",
            )
        tree["opponents"] = {name: _flow(one) for name, one in answers.items()}
    if wanted.judge:
        tree["judges"][JUDGE] = _flow(_judge(wanted))
        tree["judge"]["name"] = JUDGE
        tree["evaluate"]["judges"] = [JUDGE, *tree["evaluate"]["judges"]]
    if pool.own:
        tree["pool"]["instructions"], tree["pool"]["references"] = "data/pool.jsonl", ""
        said += _drop_judges(tree, pool)
    said += _drop_online_rounds(tree)
    if pool.own:
        said += _fit_splits(tree["pool"], pool.size)
    return [*said, *_anchor(tree)]


def _here(model: str, paths: Paths) -> str:
    """Return a local path as the project names it (a hub id stays)."""
    path = Path(model)
    if not path.exists():
        return model
    inside = path.resolve().is_relative_to(paths.root.resolve())
    return str(path.resolve().relative_to(paths.root.resolve()) if inside else path.resolve())


def _opponents(wanted: FirstRun, engine: str, paths: Paths) -> CommentedMap:
    found = CommentedMap()
    for option in wanted.opponents:
        name, equals, what = option.partition("=")
        if not (name and equals and what):
            raise ArenaError(
                f"{option!r} is not NAME=ANSWERS.jsonl, NAME=MODEL@URL or NAME=MODEL", where="--opponent"
            )
        if name in found:
            raise ArenaError(
                f"two opponents have the name '{name}'", where="--opponent", hint="rename one of the two"
            )
        served = _ENDPOINT.fullmatch(what)
        if served:
            found[name] = _flow(_endpoint(served, wanted.api_key_env, "--opponent"))
        elif what.endswith(".jsonl"):
            if not Path(what).is_file():
                raise ArenaError("no such file of recorded answers", where=f"--opponent {option}")
            found[name] = _flow({"engine": "recorded", "model": f"data/opponents/{name}.jsonl"})
        else:
            found[name] = _flow({"engine": engine, "model": _here(what, paths)})
    return found


def recorded_files(wanted: FirstRun) -> dict[str, Path]:
    """Return the files of recorded answers that options name, by opponent."""
    pairs = (option.partition("=") for option in wanted.opponents)
    return {name: Path(what) for name, _, what in pairs if what.endswith(".jsonl") and "://" not in what}


def _judge(wanted: FirstRun) -> dict[str, Any]:
    served = _ENDPOINT.fullmatch(wanted.judge)
    if not served:
        raise ArenaError(
            f"{wanted.judge!r} is not MODEL@URL",
            where="--judge",
            hint="write it like --judge my-model@http://localhost:8000/v1",
        )
    asked = {"template": "reasoning-first", "max_tokens": 1024}
    return {"kind": "llm", **_endpoint(served, wanted.api_key_env, "--judge"), **asked}


def _endpoint(served: re.Match[str], api_key_env: str, option: str) -> dict[str, Any]:
    model, url = served.groups()
    url = url.rstrip("/")
    model = model or only_model(Endpoint(base_url=url, api_key_env=api_key_env), option)
    key = {"api_key_env": api_key_env} if api_key_env else {}
    return {"engine": "openai", "model": model, "base_url": url, **key}


def _drop_judges(tree: Any, pool: StarterPool) -> list[str]:
    """Remove the judges that need what the user's instructions do not have."""
    gone = [
        name
        for name, judge in tree["judges"].items()
        if judge["kind"] in _NEEDS and not getattr(pool, _NEEDS[judge["kind"]])
    ]
    for name in gone:
        del tree["judges"][name]
    left = [name for name in tree["evaluate"]["judges"] if name not in gone]
    if not left:
        raise ArenaError(
            "the instructions have neither rubrics nor references, so no judge of the profile can score answers",
            where="--pool",
            hint="name a judge: --judge MODEL@URL",
        )
    tree["evaluate"]["judges"] = left
    if tree["judge"]["name"] in gone:
        tree["judge"]["name"] = left[0]
    return [f"judges without what they need are left out: {', '.join(gone)}"] if gone else []


def _drop_online_rounds(tree: Any) -> list[str]:
    """Remove the rounds whose reward or monitor is a judge that is gone, with their splits: others take their rows."""
    gone = []
    for name, this in list(tree["rounds"].items()):
        own: Mapping[str, Any] = tree["train"].get(this["method"], {}) if "train" in tree else {}
        named = {own[role] for role in ("judge", "monitor") if role in own}
        if this["method"] in ("rloo", "grpo") and named - set(tree["judges"]):
            del tree["rounds"][name]
            tree["train"].pop(this["method"], None)
            gone.append(name)
            if this["split"] not in {other["split"] for other in tree["rounds"].values()}:
                tree["pool"]["splits"].pop(this["split"], None)
    return [f"rounds whose reward needs a judge that is left out: {', '.join(gone)}"] if gone else []


def _anchor(tree: Any) -> list[str]:
    """Take the first contestant as the anchor where the profile's is gone."""
    base = [] if tree["weights"]["source"] == NONE else [BASE]
    contestants = [*base, *tree["opponents"], *tree["rounds"]]
    if tree["evaluate"]["anchor"] in contestants:
        return []
    tree["evaluate"]["anchor"] = contestants[0]
    return [f"evaluate.anchor: {contestants[0]}"]


def _fit_splits(section: Any, count: int) -> list[str]:
    """Scale the sizes of test, validation and splits down to a small pool, in proportion."""
    sizes = {"test": section["test"], "validation": section["validation"], **section["splits"]}
    wanted = sum(sizes.values())
    # A test set alone takes every instruction.
    budget = count if wanted == sizes["test"] else int(count * (1 - _SLACK))
    if wanted <= budget:
        return []
    fitted = {name: max(1, size * budget // wanted) if size else 0 for name, size in sizes.items()}
    if sum(fitted.values()) > count:
        raise ArenaError(
            f"the pool has {count} instructions; the profile's {len(fitted)} splits need one each, and some to spare",
            where="--pool",
            hint="add instructions, or take a profile with fewer rounds",
        )
    for name in section["splits"]:
        section["splits"][name] = fitted[name]
    section["test"], section["validation"] = fitted["test"], fitted["validation"]
    told = ", ".join(f"{name} {size}" for name, size in fitted.items())
    return [f"splits fitted to {count} instructions: {told}"]


def _flow(values: Mapping[str, Any]) -> CommentedMap:
    """Return a mapping that is written on one line, as the profiles write it."""
    found = CommentedMap(values)
    found.fa.set_flow_style()
    return found
