"""The `inputs` stage: write digests of the files that params.yaml names, for DVC to watch.

DVC fixes a stage's dependencies before it runs and has no conditional ones, but params.yaml may name any file: a pool,
recorded answers, a judge's template, a folder of weights. This stage always runs and writes one small file for each
consumer, on which the other stages depend. For a Hugging Face id, the file holds its revision. In a project outside of
a clone it also writes digests of the installed package's code (see `shipped.pipeline_text`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arena_learning.core import ArenaError, Paths, canonical, read_json, write_json
from arena_learning.engines import FETCHED, resolve
from arena_learning.params import JudgeParams, LocalModel, Opponent, Params, Round
from arena_learning.pool import pool_files
from arena_learning.project.shipped import PACKAGE, holds_sources, watched_code

# Code that a judge's score depends on, beside the room judge.
SCORING = ("core/text.py", "core/thoughts.py", "pool/embeddings.py", "schema/rubric.py")
MISSING = "missing"  # the stage that reads the file reports the error


def write_inputs(params: Params, paths: Paths) -> dict[str, Any]:
    """Write the digests of all files that params.yaml names; return their number."""
    digests = _Digests(paths)
    shutil.rmtree(paths.inputs, ignore_errors=True)  # removes the digests of former judges and opponents
    for folder in (paths.input(f"{kind}/x").parent for kind in ("opponents", "judges", "rewards")):
        folder.mkdir(parents=True)  # DVC needs the folders even if they are empty
    files = 0
    pool = params.pool
    names = dict.fromkeys((pool.instructions, pool.references, pool.difficulties, *pool.benchmarks))
    found = {"pool": {name: digests.tree(paths.root / name) for name in names if name}}
    judged = params.evaluate.human_verdicts
    found["human"] = {judged: digests.tree(paths.root / judged)} if judged else {}
    found["weights"] = _weights(params, digests, paths)
    found |= {f"opponents/{name}": _contestant(one, digests, paths) for name, one in params.opponents.items()}
    found |= {f"judges/{name}": _judge(name, params, digests, paths) for name in params.judges}
    found |= {
        f"rewards/{name}": _rewards(this, params, found, digests, paths)
        for name, this in params.rounds.items()
    }
    found["gate"] = _gate(params, digests, paths)
    found |= {f"code/{name}": {name: digests.code(PACKAGE / name)} for name in watched_code(paths)}
    for name, content in found.items():
        write_json(paths.input(name), content)
        files += len(content)
    digests.save()
    return {"files": files, "consumers": len(found)}


def _weights(params: Params, digests: _Digests, paths: Paths) -> dict[str, str]:
    if not params.has_base:
        return {}
    weights = params.weights
    return {
        weights.source: digests.model(weights.source, weights.revision),
        **_chat(weights, digests, paths),
    }


def _contestant(one: Opponent, digests: _Digests, paths: Paths) -> dict[str, str]:
    if one.engine == "openai":
        return {}
    if one.engine == "recorded":
        return {one.model: digests.file(paths.root / one.model)}
    return _local(one, digests, paths)


def _judge(name: str, params: Params, digests: _Digests, paths: Paths) -> dict[str, str]:
    """Return the digests of a judge's files; for a jury those of its members, and of their settings.

    A stage watches the settings of the one judge that it is told, which for a jury are not its members'.
    """
    one = params.judges[name]
    if one.kind == "jury":
        found: dict[str, str] = {}
        for member in one.members:
            settings = params.judges[member].model_dump(mode="json", exclude_defaults=True)
            found[f"judges.{member}"] = hashlib.sha256(canonical(settings).encode()).hexdigest()
            found |= _judge(member, params, digests, paths)
        return found
    if one.kind == "replay":
        return {one.model: digests.file(paths.root / one.model)}
    if one.kind == "reward":
        return _local(one, digests, paths)
    if one.kind != "llm":
        return {}
    templates = [name for name in (one.template, *one.templates.values()) if name.endswith(".jinja")]
    files = {name: digests.file(paths.root / name) for name in templates}
    return files if one.engine in ("openai", "recorded") else files | _local(one, digests, paths)


def _rewards(
    this: Round, params: Params, found: Mapping[str, dict[str, str]], digests: _Digests, paths: Paths
) -> dict[str, str]:
    """Return digests of what an online round's rewards depend on: its two judges' settings, files and code.

    Empty for other rounds: their training asks no judge and need not run again when a judge changes.
    """
    if not this.online:
        return {}
    own = params.train.online(this.method)
    asked = {name: params.judges[name].model_dump(mode="json") for name in (own.judge, own.monitor)}
    how = [asked, params.judge.disagree, params.serving.model_dump(mode="json")]
    files = {file: digest for name in asked for file, digest in found[f"judges/{name}"].items()}
    package = paths.root / "src" / "arena_learning" if holds_sources(paths) else PACKAGE
    code = [*sorted((package / "judge").rglob("*.py")), *(package / file for file in SCORING)]
    read = [[path.name, digests.file(path)] for path in code if path.is_file()]
    return {
        "judges": hashlib.sha256(canonical(how).encode()).hexdigest(),
        "code": hashlib.sha256(canonical(read).encode()).hexdigest(),
        **files,
    }


def _gate(params: Params, digests: _Digests, paths: Paths) -> dict[str, str]:
    """Return digests of what the comparison with the champion depends on, besides figures and answers.

    These are the decisions, the scores of a harness, the limits, and which judges had a part in the training. DVC
    cannot depend on the parameters themselves: an older params.yaml has no section `gate`.
    """
    external = params.gate.external.file
    files = {external.replace("{model}", name) for name in params.contestants if external}
    parts = {judge: params.independence(judge) for judge in params.evaluate.judges}
    how = [params.gate.model_dump(mode="json"), parts]
    return {
        "settings": hashlib.sha256(canonical(how).encode()).hexdigest(),
        paths.registry.name: digests.file(paths.registry),
        **{name: digests.file(paths.root / name) for name in sorted(files)},
    }


def _local(one: Opponent | JudgeParams, digests: _Digests, paths: Paths) -> dict[str, str]:
    """Return the digests of a local model: its weights, adapter and chat template."""
    found = {one.model: digests.model(one.model, one.revision), **_chat(one, digests, paths)}
    return found | ({one.vllm.lora: digests.folder(paths.root / one.vllm.lora)} if one.vllm.lora else {})


def _chat(one: LocalModel, digests: _Digests, paths: Paths) -> dict[str, str]:
    return {one.chat_template: digests.file(paths.root / one.chat_template)} if one.chat_template else {}


class _Digests:
    """Digests of files, cached so that large weights are not read in every run.

    Like DVC, it takes a file with the same path, size and modification time as unchanged.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        try:
            self._known: dict[str, str] = read_json(paths.input_digests)
        except ArenaError:  # no cache yet, or a cache that a kill has cut: all digests are computed again
            self._known = {}
        self._used: dict[str, str] = {}

    def file(self, path: Path) -> str:
        """Return the SHA-256 of a file."""
        try:
            stat = path.stat()
            key = json.dumps([str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino])
            if key not in self._known:
                with path.open("rb") as file:
                    self._known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return MISSING
        self._used[key] = self._known[key]
        return self._known[key]

    def tree(self, path: Path) -> str:
        """Return a digest of a file, or of all files of rows in a folder."""
        if not path.is_dir():
            return self.file(path)
        listed = [[str(file.relative_to(path)), self.file(file)] for file in pool_files(path)]
        return hashlib.sha256(canonical(listed).encode()).hexdigest() if listed else MISSING

    def folder(self, folder: Path) -> str:
        """Return a digest of a model folder's files: weights, configuration, tokenizer, template."""
        files = sorted(path for path in _model_files(folder) if path.is_file())
        if not files:
            return MISSING
        listed = [[path.name, self.file(path)] for path in files]
        return hashlib.sha256(canonical(listed).encode()).hexdigest()

    def code(self, place: Path) -> str:
        """Return a digest of the package's files below a folder, or of one file named without ``.py``."""
        if not place.is_dir():
            return self.file(place.with_suffix(".py"))
        files = (path for path in sorted(place.rglob("*")) if path.is_file() and path.suffix != ".pyc")
        listed = [[path.relative_to(place).as_posix(), self.file(path)] for path in files]
        return hashlib.sha256(canonical(listed).encode()).hexdigest()

    def model(self, source: str, revision: str) -> str:
        """Return a digest of a model's source: of its files, or of its id and revision."""
        local = self._paths.root / source
        try:
            found = resolve(str(local) if local.exists() else source)
        except ArenaError:
            return MISSING
        if found.path is None:
            return f"hub {source} {revision}".strip()
        return self.folder(found.path) if found.path.is_dir() else self.file(found.path)

    def save(self) -> None:
        """Save the digests of the files that exist now."""
        write_json(self._paths.input_digests, self._used)


def _model_files(folder: Path) -> Iterator[Path]:
    for pattern in (*FETCHED, "*.py"):
        yield from folder.glob(pattern)
