"""Opens the engine of a contestant, of a model folder, or of an opponent's section in params.yaml."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.core import ArenaError, suggest
from arena_learning.engines.base import Engine
from arena_learning.engines.base_model import chat_settings, prepare_base
from arena_learning.engines.tokenizer import AS_IT_COMES, ChatSettings
from arena_learning.engines.weights import Source, hub_folder, resolve, template_of
from arena_learning.params import Opponent, Params, Ray, Serving, Weights

if TYPE_CHECKING:
    from arena_learning.core import Paths
    from arena_learning.schema import Instruction

# Types of weights by engine. An opponent gets the first one if its engine does not support serving.dtype.
DTYPES = {
    "openvino": ("q8_0", "f16"),
    "transformers": ("fp32", "bf16", "f16"),
    "vllm": ("bf16", "f16", "fp32"),
}


def open_engine(
    contestant: str, params: Params, paths: Paths, instructions: Sequence[Instruction] = ()
) -> Engine:
    """Return the engine of a contestant.

    Args:
        contestant: ``base``, a round's name or an opponent's name.
        params: the current parameters.
        paths: the project's paths, with the models of base and rounds.
        instructions: the instructions that a recorded opponent must answer.

    Raises:
        ArenaError: no such contestant, or its engine cannot be opened.

    Example::

        paths = find_project()
        engine = open_engine("base", load_params(paths.params), paths)
        print(engine.respond([[Turn(role="user", content="Why is the sky blue?")]], Sampling())[0].text)
    """
    if contestant in params.opponents:
        where = f"opponents.{contestant}"
        return open_opponent(params.opponents[contestant], params, paths, instructions, where=where)
    if contestant not in params.contestants:
        raise ArenaError(f"no contestant '{contestant}'; {suggest(contestant, params.contestants)}")
    serving = params.serving
    make = partial(open_folder, paths.model(contestant), serving, params.weights, paths)
    return _copied(make, serving.replicas, params.ray, serving.vllm.tensor_parallel, "serving")


def open_folder(
    folder: Path,
    serving: Serving,
    weights: Weights,
    paths: Paths,
    *,
    system: str = "",
    settings: ChatSettings = AS_IT_COMES,
) -> Engine:
    """Return an engine for the model in ``folder``, which is the base model of ``weights`` or trained from it.

    ``settings`` says how the chat template is used, for models other than the rounds'.
    """
    if serving.engine in DTYPES and serving.dtype not in DTYPES[serving.engine]:
        raise ArenaError(
            f"{serving.engine} does not serve weights in {serving.dtype}",
            where="serving.dtype",
            hint=f"use one of {', '.join(DTYPES[serving.engine])}",
        )
    if serving.engine == "transformers":
        from arena_learning.engines.transformers import Transformers

        return Transformers(
            folder,
            dtype=serving.dtype,
            batch_size=serving.batch_size,
            device=serving.device,
            system=system,
            trust_remote_code=weights.trust_remote_code,
            settings=settings,
            saved=paths.exports,
        )
    if serving.engine == "openvino":
        from arena_learning.engines.openvino import OpenVino

        if serving.device == "cuda":
            raise ArenaError(
                "OpenVINO does not run on CUDA",
                where="serving.device",
                hint="set serving.engine: transformers",
            )
        return OpenVino(
            folder,
            paths.exports,
            template=template_of(weights.source),
            dtype="f16" if serving.dtype == "f16" else "q8_0",
            batch_size=serving.batch_size,
            system=system,
            settings=settings,
            exact=serving.exact,
        )
    from arena_learning.engines.vllm import Vllm

    return Vllm(
        folder,
        serving.vllm,
        dtype=serving.dtype,
        batch_size=serving.batch_size,
        device=serving.device,
        system=system,
        trust_remote_code=weights.trust_remote_code,
        settings=settings,
        saved=paths.exports,
    )


def open_opponent(
    opponent: Opponent, params: Params, paths: Paths, instructions: Sequence[Instruction] = (), *, where: str
) -> Engine:
    """Return the engine of an opponent, or of a judge's model with the same keys; ``where`` is for errors."""
    make = partial(_open_one, opponent, params, paths, instructions, where=where)
    return _copied(make, opponent.replicas, params.ray, opponent.vllm.tensor_parallel, where)


def _copied(make: Callable[[], Engine], replicas: int, ray: Ray, tensor_parallel: int, where: str) -> Engine:
    """Return one engine, or one that answers through copies of it."""
    if replicas == 1:
        return make()
    from arena_learning.engines.replicas import Replicas

    return Replicas(make, replicas, ray, tensor_parallel=tensor_parallel, where=where)


def _open_one(
    opponent: Opponent, params: Params, paths: Paths, instructions: Sequence[Instruction] = (), *, where: str
) -> Engine:
    if opponent.engine == "recorded":
        from arena_learning.engines.recorded import RecordedEngine

        file = paths.user_file(opponent.model, f"{where}.model", outside=params.files_outside)
        return RecordedEngine(file, instructions)
    if opponent.engine == "openai":
        from arena_learning.engines.openai import BatchOpenAi, OpenAi

        if opponent.batch:
            return BatchOpenAi(opponent.model, opponent, paths.batches, system=opponent.system, where=where)
        return OpenAi(opponent.model, opponent, system=opponent.system, where=where)
    dtypes = DTYPES[opponent.engine]
    dtype = params.serving.dtype if params.serving.dtype in dtypes else dtypes[0]
    local = paths.root / opponent.model
    found = resolve(str(local) if local.exists() else opponent.model)
    if opponent.engine == "vllm":
        return _open_vllm(opponent, found, dtype, params, paths, where=where)
    device = params.serving.device if opponent.engine == "transformers" else "auto"
    serving = params.serving.model_copy(update={"engine": opponent.engine, "dtype": dtype, "device": device})
    weights = Weights(source=_origin(found, params, paths))
    folder = _folder(found, paths, opponent.revision)
    settings = chat_settings(opponent, paths, where)
    return open_folder(folder, serving, weights, paths, system=opponent.system, settings=settings)


def _open_vllm(
    opponent: Opponent, found: Source, dtype: str, params: Params, paths: Paths, *, where: str
) -> Engine:
    from arena_learning.engines.vllm import Vllm

    folder = hub_folder(found.name, opponent.revision) if found.kind == "hub" else _folder(found, paths)
    return Vllm(
        folder,
        opponent.vllm,
        dtype=dtype,
        batch_size=params.serving.batch_size,
        system=opponent.system,
        extra_body=opponent.extra_body,
        settings=chat_settings(opponent, paths, where),
        saved=paths.exports,
        lora=paths.root / opponent.vllm.lora if opponent.vllm.lora else None,
        where=where,
    )


def _origin(found: Source, params: Params, paths: Paths) -> str:
    """Return the source whose GGUF is the template of exports; for the project's own models, the base's source."""
    own = found.path is not None and found.path.resolve().is_relative_to(paths.model("base").parent.resolve())
    return params.weights.source if own else found.name


def _folder(found: Source, paths: Paths, revision: str = "") -> Path:
    """Return a folder of safetensors for a source; one made from a GGUF file or hub model is cached."""
    if found.kind == "folder":
        assert found.path is not None
        return found.path
    from filelock import FileLock

    stamp = found.path.stat().st_mtime_ns if found.path else 0
    which = f"{found.name} {stamp}" + (f" {revision}" if revision else "")
    folder = paths.opponent_weights / hashlib.sha256(which.encode()).hexdigest()[:24]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            prepare_base(Weights(source=found.name, revision=revision), folder)
    return folder
