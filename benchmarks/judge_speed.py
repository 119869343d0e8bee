"""How many pairs the rubric and the reference judge decide a second, beside the bare embedding library.

    python benchmarks/judge_speed.py [--instructions 16] [--repeats 3] [--against OTHER/src]

Four contestants' answers to the first instructions of data/pool.jsonl are played all against all, as the stages do
it: through `play_in_portions` and a new store, 6 pairs an instruction. No order can matter to these judges, so a pair
is one game; versions before stored one for each order. `expert` and `plain` are the shipped answers, `short` is
expert's first sentence, and `both` is plain's answer and then expert's.

`new` starts from nothing; `again` has the embeddings of an earlier run and no verdict, as after a change of the
judge's settings; `stored` has the verdicts too. `bare` is one call of sentence-transformers' `encode` on the distinct
texts that the judge embeds. With --against, `before` is another version's sources, from nothing.

Every kind is a process of its own, which plays under both judges; the kinds take turns within a repeat, and the ratios
are medians of those within a repeat: what else the machine does meets all of them. The seconds are those of the
judging, without imports and without loading the embedding model, which is loaded before where it is needed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
JUDGES = ("rubric", "reference")
CONTESTANTS = ("both", "expert", "plain", "short")
Responses = dict[tuple[str, str], Any]


def inputs(count: int) -> tuple[dict[str, Any], Responses]:
    """Return instructions by id, with references, and responses by (instruction id, contestant)."""
    from arena_learning.core.text import sentences
    from arena_learning.schema.row_files import read_rows
    from arena_learning.schema.rows import Instruction, Response

    recorded = {}
    for name in ("expert", "plain"):
        lines = (ROOT / "data" / "opponents" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        recorded[name] = {row["id"]: row["text"] for row in map(json.loads, lines)}
    instructions, responses = {}, {}
    for one in list(read_rows(ROOT / "data" / "pool.jsonl", Instruction))[:count]:
        expert, plain = recorded["expert"][one.id], recorded["plain"][one.id]
        texts = {
            "expert": expert,
            "plain": plain,
            "short": sentences(expert)[0],
            "both": f"{plain}\n{expert}",
        }
        instructions[one.id] = one.model_copy(update={"reference": expert})
        fields = {
            "instruction_id": one.id,
            "finish_reason": "stop",
            "prompt_tokens": 0,
            "completion_tokens": 0,
        }
        for name, text in texts.items():
            responses[one.id, name] = Response(contestant=name, text=text, **fields)
    return instructions, responses


def embedding_model() -> Any:
    """Return the loaded model of sentence-transformers, of this version or an older one."""
    from arena_learning.pool import embeddings

    how = [embeddings.EmbeddedBy()] if hasattr(embeddings, "EmbeddedBy") else []
    return embeddings._model(*how)


def open_judge(name: str, file: Path | None) -> Any:
    """Return a judge whose embeddings are remembered in ``file``."""
    from arena_learning.judge.reference import ReferenceJudge
    from arena_learning.judge.rubric import RubricJudge
    from arena_learning.pool.embeddings import Embedder

    embedder = Embedder(file) if file else Embedder()  # an older version takes no file
    return RubricJudge(embedder=embedder) if name == "rubric" else ReferenceJudge(embedder)


def games(name: str, count: int, store: Path, file: Path | None) -> dict[str, Any]:
    """Play all games once; return their number, the seconds, and a digest of the games' rows."""
    from arena_learning.judge.play import Pairing, play_in_portions
    from arena_learning.store.store import Store

    instructions, responses = inputs(count)
    judge = open_judge(name, file)
    pairings = [Pairing(i, a, b) for i in instructions for a, b in combinations(CONTESTANTS, 2)]
    digest, number, start = hashlib.sha256(), 0, time.perf_counter()
    with Store(store) as opened:
        for part in play_in_portions(pairings, instructions, responses, judge, opened):
            number += len(part.games)
            digest.update("".join(game.model_dump_json() for game in part.games).encode())
    seconds = time.perf_counter() - start
    return {"games": number, "seconds": seconds, "digest": digest.hexdigest()}


def bare(name: str, count: int) -> dict[str, Any]:
    """Embed the distinct texts of the judge's games by the library alone; return their number and the seconds."""
    from arena_learning.judge.rubric import _criteria, _windows

    instructions, responses = inputs(count)
    texts: dict[str, None] = {}
    for (instruction_id, _), response in responses.items():
        instruction = instructions[instruction_id]
        if name == "reference":
            texts |= dict.fromkeys((instruction.reference, response.text))
            continue
        wanted = [p.text for p in _criteria(instruction) if p.kind == "semantic"]
        texts |= dict.fromkeys((*wanted, *_windows(response.text)) if wanted else ())
    model, start = embedding_model(), time.perf_counter()
    model.encode(list(texts), show_progress_bar=False)
    return {"texts": len(texts), "seconds": time.perf_counter() - start}


def measure(kind: str, count: int, folder: Path, sources: str) -> dict[str, dict[str, Any]]:
    """Measure one kind under every judge in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--once",
        kind,
        "--instructions",
        str(count),
        "--folder",
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": sources or str(ROOT / "src")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def compare(count: int, repeats: int, against: str) -> None:
    """Print the medians under each judge and the ratios to the bare library."""
    kinds = (["before"] if against else []) + ["bare", "new", "again", "stored"]
    turns: list[dict[str, dict[str, dict[str, Any]]]] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            turns.append(
                {k: measure(k, count, Path(folder), against if k == "before" else "") for k in kinds}
            )
    for name in JUDGES:
        number, texts = turns[0]["new"][name]["games"], turns[0]["bare"][name]["texts"]
        print(f"{name}: {number} pairs, {texts} distinct texts, medians of {repeats}")
        for kind in kinds:
            seconds = statistics.median(turn[kind][name]["seconds"] for turn in turns)
            ratio = statistics.median(
                turn[kind][name]["seconds"] / turn["bare"][name]["seconds"] for turn in turns
            )
            speed = f"{number / seconds:,.1f} pairs" if kind != "bare" else f"{texts / seconds:,.1f} texts"
            print(f"  {kind:7}{seconds:9.2f} s {ratio:8.3f} x bare {speed:>16} a second")
        played = [turn[kind][name] for turn in turns for kind in kinds if kind != "bare"]
        rows = {one["digest"] for one in played if one["games"] == number}
        print(f"  games of one order: the rows are {'the same' if len(rows) == 1 else 'NOT the same'}")


def once(kind: str, count: int, folder: Path) -> None:
    """Print one kind's measurements as JSON, by judge."""
    if kind in ("before", "bare", "new"):
        embedding_model()
    found = {}
    for name in JUDGES:
        if kind == "bare":
            found[name] = bare(name, count)
            continue
        # `again` must not find the verdicts of `new`, nor a judge the vectors of the other.
        store = folder / f"{'new' if kind == 'stored' else kind}-{name}.sqlite"
        file = None if kind == "before" else folder / name / "vectors.sqlite"
        found[name] = games(name, count, store, file)
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--instructions", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", default="", help="the sources of another version")
    parser.add_argument("--once", default="", help="(inner) one measurement")
    parser.add_argument("--folder", type=Path, help="(inner) where its files lie")
    given = parser.parse_args()
    if given.once:
        once(given.once, given.instructions, given.folder)
        return
    compare(given.instructions, given.repeats, given.against)


if __name__ == "__main__":
    main()
