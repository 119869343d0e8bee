"""How far the rubric judge can be trusted: on the shipped pool, and against people's choices.

    python benchmarks/rubric_judge.py [--human human_preferences.jsonl.gz] [--points content]

Without arguments: `expert` against `plain` over data/pool.jsonl. With --human, also how often the judge agrees with
people over the instructions of benchmarks/human_rubrics.jsonl, beside "the longer answer wins". The file has a row
an instruction: id, source, instruction, response_a, response_b, label (model_a, model_b or tie). The rubrics were
written blind to responses and labels.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arena_learning.core.text import words
from arena_learning.judge.base import Presentation
from arena_learning.judge.rubric import RubricJudge
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Instruction, Response, Turn

ROOT = Path(__file__).parent.parent
RUBRICS = ROOT / "benchmarks" / "human_rubrics.jsonl"
LABELS = {"model_a": 1, "model_b": -1, "tie": 0}


class Choice(NamedTuple):
    """Who wins an instruction by the people, the judge and the length: 1 the first, -1 the second, 0 neither."""

    source: str
    people: int
    judge: int
    longer: int


def read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Return the rows of a JSON Lines file, gzipped or not."""
    data = file.read_bytes()
    text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    return (json.loads(line) for line in text.split("\n") if line.strip())


def response(instruction: str, contestant: str, text: str) -> Response:
    """Return a finished response."""
    return Response(
        instruction_id=instruction,
        contestant=contestant,
        text=text,
        finish_reason="stop",
        prompt_tokens=0,
        completion_tokens=0,
    )


def scores(judge: RubricJudge, presented: Sequence[Presentation]) -> np.ndarray:
    """Return a row of two scores for each presentation, nan where unscored."""
    starts = range(0, len(presented), judge.batch_size)
    found = [verdict for i in starts for verdict in judge.score(presented[i : i + judge.batch_size])]
    return np.array([[v.score_first, v.score_second] for v in found], dtype=float)


def shipped(judge: RubricJudge) -> None:
    """Print expert against plain, by category."""
    texts = {
        name: {
            row["id"]: row["text"] for row in read_json_lines(ROOT / "data" / "opponents" / f"{name}.jsonl")
        }
        for name in ("expert", "plain")
    }
    presented, categories = [], []
    for one in read_rows(ROOT / "data" / "pool.jsonl", Instruction):
        # As in the rounds: the expert's answer is the reference.
        full = one.model_copy(update={"reference": texts["expert"][one.id]})
        presented.append(Presentation(full, *(response(one.id, name, texts[name][one.id]) for name in texts)))
        categories.append(one.category)
    table, category = scores(judge, presented), np.array(categories)
    print(
        f"{'category':14}{'rows':>6}{'expert wins':>20}{'tie':>6}{'plain wins':>12}{'expert':>8}{'plain':>8}"
    )
    for name in ["all", *sorted(set(categories))]:
        expert, plain = (table if name == "all" else table[category == name]).T
        won = int((expert > plain).sum())
        print(
            f"{name:14}{len(expert):6}{won:10} ({won / len(expert):6.1%}){(expert == plain).sum():6}"
            f"{(expert < plain).sum():12}{expert.mean():8.2f}{plain.mean():8.2f}"
        )


def choices(judge: RubricJudge, file: Path) -> list[Choice]:
    """Return the choices on the rows of ``file`` that have a rubric."""
    rubrics = {row["id"]: row for row in read_json_lines(RUBRICS)}
    rows = [row for row in read_json_lines(file) if row["id"] in rubrics]
    if not rows:
        raise SystemExit(f"{file}: no row has a rubric in {RUBRICS}")
    presented, lengths = [], []
    for row in rows:
        turns = (Turn(role="user", content=row["instruction"]),)
        own = rubrics[row["id"]]
        one = Instruction(id=row["id"], turns=turns, rubric=own["rubric"], reference=own["reference"])
        sides = [response(one.id, name, row[f"response_{name}"]) for name in ("a", "b")]
        presented.append(Presentation(one, *sides))
        lengths.append([len(words(side.text)) for side in sides])
    judged = np.sign(np.diff(scores(judge, presented))[:, 0] * -1).astype(int)
    longer = np.sign(np.diff(np.array(lengths))[:, 0] * -1)
    return [
        Choice(row["source"], LABELS[row["label"]], int(j), int(n))
        for row, j, n in zip(rows, judged, longer, strict=True)
    ]


def agreement(people: np.ndarray, other: np.ndarray, resamples: int) -> str:
    """Return the share of agreement with its 95 % bootstrap interval over instructions."""
    same = people == other
    if not same.size:
        return "-"
    drawn = np.random.default_rng(0).integers(0, same.size, (resamples, same.size))
    low, high = np.quantile(same[drawn].mean(axis=1), [0.025, 0.975])
    return f"{same.mean():.1%} [{low:.1%}, {high:.1%}]"


def human(found: Sequence[Choice], resamples: int) -> None:
    """Print the agreement with people, three-way and without anybody's ties, by source."""
    groups = defaultdict(list)
    for choice in found:
        groups["all"].append(choice)
        groups[choice.source].append(choice)
    for title, decided in (
        ("three-way: first, second or tie", ()),
        ("where people chose (a tie of the judge is a miss)", ("people",)),
        ("without ties of people or judge (the longer answer on the same rows)", ("people", "judge")),
    ):
        print(f"\n{title}\n{'source':32}{'rows':>6}{'rubric judge':>26}{'longer answer':>26}")
        for source, members in groups.items():
            rows = [m for m in members if all(getattr(m, side) for side in decided)]
            people, judge, longer = (np.array([m[i] for m in rows]) for i in (1, 2, 3))
            shown = (agreement(people, other, resamples) for other in (judge, longer))
            print(f"{source:32}{len(rows):6}" + "".join(f"{text:>26}" for text in shown))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--human", type=Path, help="people's choices, .jsonl or .jsonl.gz")
    parser.add_argument("--points", choices=["all", "content"], default="all")
    parser.add_argument("--resamples", type=int, default=10_000)
    given = parser.parse_args()
    judge = RubricJudge(given.points)
    print(judge.label)
    shipped(judge)
    if given.human:
        human(choices(judge, given.human), given.resamples)


if __name__ == "__main__":
    main()
