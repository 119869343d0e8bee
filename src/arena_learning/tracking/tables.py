"""The tables and datasets of a run: leaderboards, a sample of battles, the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from arena_learning.core import Paths, redacted
from arena_learning.leaderboard import Document, RoundFiles, mapping_at, records_at
from arena_learning.params import NONE
from arena_learning.report import LedgerRow
from arena_learning.schema import (
    Battle,
    BattleResult,
    Instruction,
    PreferenceRow,
    Response,
    SftRow,
    Turn,
    iter_rows,
    read_battle_results,
    read_rows,
)
from arena_learning.tracking.run_view import DatasetFile, TableArtifact, md5

B = TypeVar("B", Battle, BattleResult)

SAMPLE = 20  # battles in the table of a round
LONGEST = 2000  # characters of a text in a table
_RATING = ("model", "rating", "lower", "upper", "battles", "wins", "ties", "losses")
_BATTLE = (
    "instruction_id",
    "category",
    "instruction",
    "a",
    "b",
    "answer_a",
    "answer_b",
    "score_a",
    "score_b",
    "winner",
    "gap",
    "orders_agree",
    "rationale",
)


def elo_table(board: Document) -> list[TableArtifact]:
    """Return all judges' leaderboards as one table; none if there is no leaderboard."""
    rows = tuple(
        (judge, *(rating.get(column) for column in _RATING))
        for judge, own in mapping_at(board, "boards").items()
        for rating in records_at(own, "ratings")
    )
    return [TableArtifact("tables/elo.json", ("judge", *_RATING), rows)] if rows else []


def ledger_table(rows: Sequence[LedgerRow]) -> list[TableArtifact]:
    """Return the ledger as a table; none if nothing was spent."""
    columns = LedgerRow._fields
    return [TableArtifact("tables/ledger.json", columns, tuple(tuple(row) for row in rows))] if rows else []


def battle_table(this: RoundFiles, paths: Paths) -> list[TableArtifact]:
    """Return a sample of the round's battles with both answers and the rationale; none if there are no battles."""
    files = (paths.battles(this.name), paths.responses(this.name), paths.split(this.this.split))
    if not all(path.is_file() for path in files):
        return []
    chosen = sample_battles(read_battle_results(files[0]), this.this.target)
    if not chosen:
        return []
    places = {(b.instruction_id, b.a, b.b): place for place, b in enumerate(chosen)}
    battles = sorted(
        (b for b in iter_rows(files[0], Battle) if (b.instruction_id, b.a, b.b) in places),
        key=lambda b: places[b.instruction_id, b.a, b.b],
    )
    names = {b.instruction_id for b in chosen}
    said = {
        (r.instruction_id, r.contestant): r.text
        for r in iter_rows(files[1], Response)
        if r.instruction_id in names
    }
    asked = {i.id: i for i in iter_rows(files[2], Instruction) if i.id in names}
    rows = []
    for battle in battles:
        shown = battle.model_dump(mode="json") | {
            "instruction": asked[battle.instruction_id].text if battle.instruction_id in asked else "",
            "answer_a": said.get((battle.instruction_id, battle.a), ""),
            "answer_b": said.get((battle.instruction_id, battle.b), ""),
            # The reason may quote what an endpoint said.
            "rationale": redacted(battle.unscored) if battle.unscored else "\n\n".join(battle.rationales),
        }
        values = (shown[column] for column in _BATTLE)
        rows.append(tuple(cut(v, LONGEST) if isinstance(v, str) else v for v in values))
    return [TableArtifact("tables/battles.json", _BATTLE, tuple(rows))]


def sample_battles(battles: Sequence[B], target: str, count: int = SAMPLE) -> list[B]:
    """Return a sample of the target's battles: evenly spaced from widest loss to widest win, then unscored ones.

    A random sample would be mostly ties and narrow gaps; readers look for the extremes.
    """
    own = [b for b in battles if target == NONE or target in (b.a, b.b)]

    def margin(battle: B) -> tuple[bool, float, str, str, str]:
        won = battle.winner == ("a" if battle.a == target else "b")
        gap = battle.gap or 0.0
        return battle.winner == "unscored", gap if won else -gap, battle.instruction_id, battle.a, battle.b

    ordered = sorted(own, key=margin)
    if len(ordered) <= count:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (count - 1))] for i in range(count)]


def datasets(this: RoundFiles, paths: Paths) -> list[DatasetFile]:
    """Return the files that the round's battles and training used, with their digests."""
    found = []
    split = paths.split(this.this.split)
    if split.is_file():
        instructions = read_rows(split, Instruction)
        columns = {
            "instruction": [i.text for i in instructions],
            "category": [i.category for i in instructions],
        }
        found.append(_data(f"{this.name} {this.this.split}", split, "battle", columns, paths))
    learnt = paths.sft(this.name) if this.this.supervised else paths.preferences(this.name)
    if learnt.is_file():
        found.append(_data(f"{this.name} rows", learnt, "training", _rows(this, paths), paths))
    return [data for data in found if any(data.columns.values())]


def _rows(this: RoundFiles, paths: Paths) -> dict[str, list[str]]:
    if this.this.supervised:
        labelled = read_rows(paths.sft(this.name), SftRow)
        return {
            "prompt": [_spoken(row.prompt) for row in labelled],
            "completion": [_spoken(row.completion) for row in labelled],
            "winner": [row.provenance.winner for row in labelled],
        }
    pairs = read_rows(paths.preferences(this.name), PreferenceRow)
    return {
        "prompt": [_spoken(row.prompt) for row in pairs],
        "chosen": [_spoken(row.chosen) for row in pairs],
        "rejected": [_spoken(row.rejected) for row in pairs],
        "winner": [row.provenance.winner for row in pairs],
    }


def _data(name: str, path: Path, context: str, columns: dict[str, list[str]], paths: Paths) -> DatasetFile:
    return DatasetFile(name, path.relative_to(paths.root).as_posix(), md5(path), context, columns)


def _spoken(turns: Sequence[Turn]) -> str:
    return "\n".join(turn.content for turn in turns)


def cut(text: str, longest: int) -> str:
    """Return a text, shortened to ``longest`` characters if it is longer."""
    return text if len(text) <= longest else f"{text[:longest]} [... {len(text) - longest} more characters]"
