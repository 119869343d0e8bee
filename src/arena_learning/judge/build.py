"""Open a judge from its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from arena_learning import params as p
from arena_learning.core import ArenaError, Paths
from arena_learning.judge.base import Judge
from arena_learning.params import Sampling

if TYPE_CHECKING:
    from arena_learning.engines import Engine

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def open_judge(name: str, params: p.Params, paths: Paths) -> Judge:
    """Open the judge called ``name`` in ``params.judges``; only the modules that it needs are imported.

    Raises:
        ArenaError: its model, template or embeddings are not available.

    Example:
        judge = open_judge("rubric", load_params(paths.params), paths)
        verdicts = judge.score(presentations)
        judge.close()
    """
    judge = _open(name, params, paths)
    judge.tie_margin = params.judges[name].tie_margin  # type: ignore[attr-defined]  # see `base.tie_margin`
    judge.name = name  # type: ignore[attr-defined]  # see `base.judge_name`
    return judge


def _open(name: str, params: p.Params, paths: Paths) -> Judge:
    judge = params.judges[name]
    if judge.kind == "rubric":
        from arena_learning.judge.rubric import RubricJudge
        from arena_learning.pool import shared_embedder

        return RubricJudge(
            judge.points, shared_embedder(paths.vectors), cosines=(judge.cosine_none, judge.cosine_full)
        )
    if judge.kind == "reference":
        from arena_learning.judge.reference import ReferenceJudge
        from arena_learning.pool import shared_embedder

        return ReferenceJudge(shared_embedder(paths.vectors))
    if judge.kind == "longer":
        from arena_learning.judge.length_baseline import LengthBaselineJudge

        return LengthBaselineJudge()
    if judge.kind == "replay":
        from arena_learning.judge.replay import ReplayJudge

        return ReplayJudge(paths.user_file(judge.model, f"judges.{name}.model", outside=params.files_outside))
    if judge.kind == "reward":
        return _open_reward(name, judge, params, paths)
    if judge.kind == "jury":
        return _open_jury(name, judge, params, paths)
    return _open_llm(name, judge, params, paths)


def _open_reward(name: str, judge: p.JudgeParams, params: p.Params, paths: Paths) -> Judge:
    from arena_learning.engines import chat_settings, hub_folder
    from arena_learning.judge.reward import Calibration, RewardJudge

    folder, on_hub = paths.root / judge.model, _names_hub(judge.model, paths)
    if on_hub:
        folder = hub_folder(judge.model, judge.revision, code=judge.trust_remote_code)
    return RewardJudge(
        folder,
        Calibration(judge.center, judge.scale),
        device=params.serving.device,
        batch_size=params.serving.batch_size,
        dtype=judge.dtype,
        end=judge.end or ("template" if on_hub else "turn"),
        trust_remote_code=judge.trust_remote_code,
        settings=chat_settings(judge, paths, f"judges.{name}"),
        where=f"judges.{name}.model: {judge.model}",
    )


def _open_jury(name: str, judge: p.JudgeParams, params: p.Params, paths: Paths) -> Judge:
    from arena_learning.judge.jury import Jury, Member

    with ExitStack() as opened:  # closes the members if one of them cannot be opened
        members = []
        for member in judge.members:
            members.append(Member(member, open_judge(member, params, paths)))
            opened.callback(members[-1].judge.close)
        jury = Jury(members, judge.combine, judge.quorum, where=f"judges.{name}")
        opened.pop_all()
    return jury


def _names_hub(model: str, paths: Paths) -> bool:
    """Whether ``model`` is a Hugging Face id (``owner/name``): no folder of the project begins like it."""
    return bool(_HUB_ID.fullmatch(model)) and not (paths.root / model.split("/")[0]).exists()


def open_judge_engine(name: str, params: p.Params, paths: Paths) -> Engine:
    """Return the engine behind a judge of kind ``llm``, without its prompt; what it says is free text.

    Raises:
        ArenaError: the judge is of another kind, or its engine cannot be opened.
    """
    judge = params.judges[name]
    if judge.kind != "llm":
        raise ArenaError(f"a judge of kind {judge.kind} has no engine to ask", where=f"judges.{name}.kind")
    return _engine(judge, params, paths, f"judges.{name}", judge.extra_body)


def _engine(
    judge: p.JudgeParams, params: p.Params, paths: Paths, where: str, body: Mapping[str, Any]
) -> Engine:
    from arena_learning.engines import open_opponent

    shared = (*p.Endpoint.model_fields, *p.LocalModel.model_fields)
    endpoint = {field: getattr(judge, field) for field in shared} | {"extra_body": dict(body)}
    opponent = p.Opponent(
        engine=judge.engine or "transformers",
        model=judge.model,
        vllm=judge.vllm,
        replicas=judge.replicas,
        **endpoint,
    )
    return open_opponent(opponent, params, paths, where=where)


def _open_llm(name: str, judge: p.JudgeParams, params: p.Params, paths: Paths) -> Judge:
    from arena_learning.judge.llm import LlmJudge
    from arena_learning.judge.response_format import response_format
    from arena_learning.judge.template import JudgeTemplate

    sampling = Sampling(max_tokens=judge.max_tokens, temperature=judge.temperature, seed=params.seed)
    template = JudgeTemplate(judge.template, paths.root)
    by_category = {category: JudgeTemplate(t, paths.root) for category, t in judge.templates.items()}
    where, body = f"judges.{name}", judge.extra_body
    if judge.scores == "structured":
        held = response_format(
            [template, *by_category.values()], judge.engine, f"{where}.scores", judge.max_tokens
        )
        body = {**body, "response_format": held}
    engine = _engine(judge, params, paths, where, body)
    expected = judge.scores == "expected"
    return LlmJudge(
        judge.model, engine, template, sampling, judge.attempts, by_category, expected=expected, name=name
    )
