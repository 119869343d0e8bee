"""The model card of an exported model: what it learnt, how it was measured, and under which licences it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, Table, read_json, table_markdown
from arena_learning.engines import resolve
from arena_learning.leaderboard import AGREEMENT, Document, mapping_at, number_at, read_document, records_at
from arena_learning.params import NONE, Params
from arena_learning.registry.compare import champion_on_record, holds_promoted
from arena_learning.report import leaderboard_markdown, monitors_markdown

UNKNOWN = "unknown"


def model_card(name: str, licence: str, params: Params, paths: Paths) -> str:
    """Return a model's README.md as Markdown, with the front matter that model hubs read.

    Args:
        name: a round, or ``base``.
        licence: the licence's identifier, such as ``apache-2.0``; empty if it is not known.
        params: the rounds, judges and sources.
        paths: the project with the leaderboard, the data cards and the audits.
    """
    board = read_document(paths.leaderboard)
    sections = [
        f"# {name}",
        _summary(name, params, paths),
        "## Leaderboard",
        _leaderboard(board),
        "## What ships",
        _gate(name, paths),
        "## Data",
        _data(name, params, paths),
        "## Judges",
        _judges(name, board, params),
        *_audits(paths),
        "## Licences",
        _licences(licence, params, paths),
    ]
    return "\n\n".join([_front_matter(licence, params, paths), *(part for part in sections if part)]) + "\n"


def lineage(name: str, params: Params) -> list[str]:
    """Return the rounds that a model's weights come from, oldest first, itself last."""
    chain: list[str] = []
    while name in params.rounds:
        chain.insert(0, name)
        name = params.rounds[name].init
    return chain


def _front_matter(licence: str, params: Params, paths: Paths) -> str:
    hub = base_source(params, paths).kind == "hub"
    base = [f"base_model: {params.weights.source}"] if hub else []
    given = [f"license: {licence or UNKNOWN}"]
    rest = ["library_name: transformers", "pipeline_tag: text-generation", "tags: [arena-learning]"]
    return "\n".join(["---", *given, *base, *rest, "---"])


class BaseSource(NamedTuple):
    """The base model's source: ``hub``, ``folder`` or ``gguf``, and its path; both empty if it is gone."""

    kind: str
    path: Path | None


def base_source(params: Params, paths: Paths) -> BaseSource:
    """Return the base model's source; a path is relative to the project."""
    local = paths.root / params.weights.source
    try:
        found = resolve(str(local) if local.exists() else params.weights.source)
    except ArenaError:  # the model's folder is all that an export needs
        return BaseSource("", None)
    return BaseSource(found.kind, found.path)


def _source(params: Params, paths: Paths) -> str:
    """Return the base model's source; of a path only its last part, because the card leaves this machine."""
    source = params.weights.source
    return source if ":" in source or base_source(params, paths).kind == "hub" else Path(source).name


def _summary(name: str, params: Params, paths: Paths) -> str:
    chain = lineage(name, params)
    steps = ", then ".join(f"{params.rounds[one].method.upper()} (`{one}`)" for one in chain) or "no training"
    return (
        f"Made by an offline chatbot arena (arXiv:2407.10627) from `{_source(params, paths)}`: {steps}. "
        "The chat template comes with the tokenizer, and generation_config.json has every token that ends an answer. "
        f"It was measured with temperature {params.sampling.temperature:g} and at most "
        f"{params.sampling.max_tokens} tokens an answer."
    )


def _leaderboard(board: Document) -> str:
    if not board:
        return "Not evaluated yet."
    about = "On held-out instructions; 95 % intervals resample instructions. A rating is the opinion of its judge."
    return "\n\n".join(
        part for part in (about, leaderboard_markdown(board), monitors_markdown(board)) if part
    )


def _gate(name: str, paths: Paths) -> str:
    champion = champion_on_record(paths)
    if champion is None or champion.round != name:
        return "This model is not the champion of its project."
    if not holds_promoted(champion, paths):
        return (
            f"`{name}` was promoted {champion.when} with other weights ({champion.weights[:12]}). "
            "These were not compared with a champion."
        )
    checks = champion.figures.get("checks", {}).values()
    lines = [f"- {check['text']}" for check in checks if check["passed"] is not None]
    return "\n".join([f"Promoted {champion.when} beside `{champion.against}`:", "", *lines])


def _data(name: str, params: Params, paths: Paths) -> str:
    """Return a table of the data cards of the rounds that the weights come from."""
    rows = []
    for one in lineage(name, params):
        card, this = read_document(paths.card(one)), params.rounds[one]
        counted = sorted(mapping_at(card, "chosen_from").items(), key=lambda one: (-one[1], one[0]))
        chosen = ", ".join(f"{who} {count}" for who, count in counted)
        figures = [_number(card, key) for key in ("instructions", "rows_new", "rows")]
        rows.append((one, this.method, this.split, *figures, chosen or "-"))
    head = ("round", "method", "split", "instructions", "new rows", "rows", "answers learnt from")
    table = table_markdown(Table(head, rows, ("round", "method", "split", "answers learnt from")))
    prepared = read_document(paths.prepare_card)
    dropped = sum(int(n) for n in mapping_at(prepared, "dropped").values() if isinstance(n, int))
    read = _number(prepared, "read")
    pool = f"The pool is `{params.pool.instructions}`: {read} instructions read, {dropped} dropped."
    return f"{pool}\n\n{table}" if rows else pool


def _judges(name: str, board: Document, params: Params) -> str:
    teachers = params.teachers()
    lines = []
    for judge in params.evaluate.judges:
        taught = f"taught {', '.join(teachers[judge])}" if judge in teachers else params.independence(judge)
        lines.append(f"- `{judge}` ({params.judges[judge].kind}): {taught}")
    own: Mapping[str, Any] = next(
        (one for one in records_at(board, "monitors") if one.get("model") == name), {}
    )
    for key, value in own.items():
        share = number_at(value)
        if key.startswith(AGREEMENT) and share is not None:
            judge = key.removeprefix(AGREEMENT)
            lines.append(
                f"- `{judge}` agrees with `{board.get('judge')}` in {share:.1%} of this model's test battles"
            )
    return "\n".join(lines)


def _audits(paths: Paths) -> Iterator[str]:
    """Yield a table of the judges' agreement with labelled pairs, if there are audits."""
    rows = []
    for file in sorted(paths.audits.glob("*.json")) if paths.audits.is_dir() else []:
        for judge, found in mapping_at(read_json(file), "judges").items():
            agreement = number_at(found, "all", "agreement", "value")
            if agreement is not None:
                rows.append((file.stem, str(judge), _number(found["all"], "pairs"), f"{agreement:.1%}"))
    if rows:
        yield "Agreement with labelled pairs:"
        yield table_markdown(Table(("labels", "judge", "pairs", "agreement"), rows, ("labels", "judge")))


def _licences(licence: str, params: Params, paths: Paths) -> str:
    others = [
        f"- `{name}`: {opponent.engine} `{opponent.model}`" for name, opponent in params.opponents.items()
    ]
    about = licence or "not stated by its source: look it up before you pass the model on"
    lines = [
        f"- Base model `{_source(params, paths)}`: {about}. It holds for this model too.",
        f"- Instructions: the licence of `{params.pool.instructions}` (data/README.md for the shipped pool).",
    ]
    if any(this.labels != NONE or this.target != NONE for this in params.rounds.values()) and others:
        lines += ["", "Answers of these may be in the training data, so their terms matter too:", "", *others]
    return "\n".join(lines)


def _number(card: Document, key: str) -> str:
    value = number_at(card, key)
    return "-" if value is None else f"{value:.0f}"
