"""Whether `arena prepare` bears a pool of the paper's size: time, memory, and what it finds of what was planted.

    python benchmarks/pool_size.py [--rows 10000 --rows 50000 --rows 276000] [--items 2500] [--seed 0]
        [--vectors] [--figure docs/images/pool-growth.png]

A pool of that many rows is made from the seed, in four formats of a folder (this project's rows, ShareGPT, Alpaca,
OpenOrca). Its texts are new sentences in the words of the shipped pool: a chain that picks each word by the two before
it. Planted, in known places, are:

- exact duplicates, in another case;
- near duplicates, whose last words are new, above the threshold (Jaccard 0.95 to 0.84) and below it (0.76 to 0.5);
- benchmark items, copied whole, put inside of a longer text, or with one word in twenty changed; and rows that share
  only a quarter of an item;
- rows in other languages that call themselves English;
- rows with a toxic word, and rows that are too short.

Then `arena prepare` runs in a process of its own with the lexical filters: no embeddings. Of each kind the table says
how many were planted and how many of them were dropped for the right reason; precision is the share of all rows dropped
for that reason that were planted for it. Exit code 1 if a recall or a precision is below 0.98.

With `--vectors` it also compares embeddings with those of all held-out items (cosine 0.85, and the 5 nearest), and
chooses a mixed test set over 500 clusters. The vectors are made from the seed, around 500 random centers, and saved
where `arena embed` saves its own: so this is the time where vectors are known, and says nothing of what they find.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from arena_learning.core.paths import Paths
from arena_learning.pool.embeddings import EmbeddedBy, vectors_name
from arena_learning.pool.filters import conversation_text
from arena_learning.pool.instructions import PoolFiles, read_benchmarks
from arena_learning.store import VectorStore

ROOT = Path(__file__).parents[1]
THRESHOLD = 0.8
GOAL = 0.98
# Prepares in its own process; its greatest memory is VmHWM, for ru_maxrss begins with what this process had.
PREPARE = """
from pathlib import Path
from arena_learning.cli.main import cli
cli.main(["prepare", "--json"], standalone_mode=False)
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
Path("peak").write_text(line.split()[1], encoding="utf-8")
"""
CLUSTERS, SIZE, BLOCK = 500, 384, 8192
FILLER = "zzq"  # new words of planted duplicates begin with it
ABOVE, BELOW = (0.95, 0.92, 0.88, 0.84), (0.76, 0.7, 0.6, 0.5)
# Of a thousand rows; the rest is plain.
PLANTED = {
    "exact": 10,
    "near": 60,
    "alike": 30,
    "item": 20,
    "quarter": 10,
    "language": 80,
    "toxic": 10,
    "short": 10,
}
REASONS = {
    "exact": "exact duplicate",
    "near": "near duplicate",
    "item": "overlap",
    "language": "language",
    "toxic": "toxic word",
    "short": "too short",
}
# Common words of each language: rows of them are no sentences, but an identifier counts letters and words.
WORDS = {
    "de": "der die das und ist nicht ein eine mit von für auf werden haben wie warum können muss schreibe erkläre "
    "Geschichte über zwischen Unterschied Wasser Stadt heute morgen schön größer Jahre Menschen arbeiten Straße "
    "welche wenn aber auch nach durch gegen ohne unter Freund Fenster kaufen schnell möglich",
    "fr": "le la les des une est pas que pour dans avec sur vous nous être avoir comment pourquoi écrire expliquer "
    "histoire entre différence eau ville aujourd'hui demain beau plus grand années gens travailler rue quelle "
    "mais aussi après sans sous ami fenêtre acheter vite possible très toujours",
    "es": "el la los una es no que para en con por sobre usted nosotros ser tener cómo escribir explicar historia "
    "entre diferencia agua ciudad hoy mañana hermoso más grande años gente trabajar calle cuál pero también después "
    "sin bajo amigo ventana comprar rápido posible muy siempre porque",
    "ru": "и не что он на я с как это по но они мы все она так его только мне было вот от меня ещё нет о из ему "
    "теперь когда даже ну вдруг ли если уже или быть был него до вас опять вам ведь там потом себя ничего",
    "pl": "nie się jest na do że jak ale po co tak za od przez czy już tylko jego ich może bardzo dlaczego napisz "
    "wyjaśnij historia między różnica woda miasto dzisiaj jutro piękny większy lata ludzie pracować ulica która "
    "także bez przyjaciel okno kupić szybko możliwe zawsze",
}


class Chain:
    """Makes sentences in the words of a text: each word is one that followed the two before it there."""

    def __init__(self, texts: list[str]) -> None:
        self._next: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._starts = []
        for text in texts:
            said = text.split()
            self._starts += [tuple(said[:2])] if len(said) > 2 else []
            for one, two, three in zip(said, said[1:], said[2:], strict=False):
                self._next[one, two].append(three)

    def words(self, count: int, rng: random.Random) -> list[str]:
        """Return new words; one in six begins another sentence, so that no text of the source is repeated."""
        said: list[str] = []
        while len(said) < count:
            pair = rng.choice(self._starts)
            said += pair
            while (
                len(said) < count and (after := self._next.get((said[-2], said[-1]))) and rng.random() > 1 / 6
            ):
                said.append(rng.choice(after))
        return said[:count]


def corpus() -> list[str]:
    texts = []
    for line in (ROOT / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines():
        texts += [turn["content"] for turn in json.loads(line)["turns"]]
    for name in ("expert", "plain"):
        lines = (ROOT / "data" / "opponents" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        texts += [json.loads(line)["text"] for line in lines]
    return [text for text in texts if text.isascii()]


def length(rng: random.Random) -> int:
    """Words of an instruction: half have fewer than 45, one in twenty more than 200."""
    return max(24, min(900, round(rng.lognormvariate(3.8, 0.9))))


def near_copy(text: str, jaccard: float, number: int) -> str:
    """Return ``text`` with new last words: of g 3-grams m are lost and m are new, so Jaccard is (g - m) / (g + m)."""
    said = text.split()
    grams = len(said) - 2
    new = round(grams * (1 - jaccard) / (1 + jaccard))
    return " ".join(said[: len(said) - new] + [f"{FILLER}{number}x{n}" for n in range(new)])


def true_jaccard(one: str, two: str) -> float:
    a, b = (
        {tuple(said[n : n + 3]) for n in range(len(said) - 2)}
        for said in (t.lower().split() for t in (one, two))
    )
    return len(a & b) / len(a | b)


def make_rows(count: int, items: list[str], seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, id, text); a planted copy comes after what it copies."""
    rng, chain = random.Random(seed), Chain(corpus())
    recent: list[str] = []
    kinds = [kind for kind, share in PLANTED.items() for _ in range(share)]
    copied: set[str] = set()
    for number in range(count):
        place = rng.randrange(1000)
        kind = kinds[place] if place < len(kinds) else "plain"
        if kind in ("exact", "near", "alike"):
            source = recent.pop(rng.randrange(len(recent))) if len(recent) > 500 else ""
            if not source or source in copied:
                kind = "plain"
        if kind == "plain":
            text = " ".join(chain.words(length(rng), rng))
            recent.append(text)
            if len(recent) > 5000:
                recent.pop(0)
        elif kind == "exact":
            text = source.upper()
        elif kind in ("near", "alike"):
            text = near_copy(source, rng.choice(ABOVE if kind == "near" else BELOW), number)
            kind = "near" if true_jaccard(source, text) >= THRESHOLD else "alike"
        elif kind == "item":
            text = contaminated(rng.choice(items), chain, rng)
        elif kind == "quarter":
            said = rng.choice(items).split()
            text = " ".join(said[: len(said) // 4] + chain.words(length(rng), rng))
        elif kind == "language":
            language = rng.choice(list(WORDS))
            text = " ".join(rng.choice(WORDS[language].split()) for _ in range(length(rng)))
        elif kind == "toxic":
            said = chain.words(length(rng), rng)
            said.insert(rng.randrange(len(said)), "kill yourself,")
            text = " ".join(said)
        else:
            text = rng.choice(["Hi", "test", "ok?", "Why", "go on"]) + " " * rng.randrange(3)
        yield kind, f"row-{number}", text


def contaminated(item: str, chain: Chain, rng: random.Random) -> str:
    said = item.split()
    way = rng.randrange(3)
    if way == 0:
        return item
    if way == 1:
        return " ".join([*chain.words(length(rng), rng), *said, *chain.words(20, rng)])
    for place in range(rng.randrange(20), len(said), 20):
        said[place] = f"{FILLER}{rng.randrange(10**9)}"
    return " ".join(said)


def written(rows: Iterator[tuple[str, str, str]], folder: Path, seed: int) -> dict[str, str]:
    """Write the rows in four formats, in their order within a file; return the kind of each id."""
    folder.mkdir()
    rng = random.Random(seed + 1)
    kinds = {}
    # A file is read after the other, by name: the copies of a file's rows must not come before them, so blocks of rows
    # go into one file each.
    form, file = 0, None
    for number, (kind, name, text) in enumerate(rows):
        if number % 20_000 == 0:
            if file:
                file.close()
            form = number // 20_000 % 4
            file = (folder / f"part-{number // 20_000:03}.jsonl").open("w", encoding="utf-8")
        kinds[name] = kind
        said = "An answer of some words. " * rng.randrange(1, 20)
        row = (
            {"id": name, "turns": [{"role": "user", "content": text}]},
            {"id": name, "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": said}]},
            {"id": name, "instruction": text, "input": "", "output": said},
            {"id": name, "question": text, "response": said},
        )[form]
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.close()
    return kinds


def save_vectors(folder: Path, seed: int) -> None:
    """Save a made-up vector of each text of the pool and the items, so that none is computed."""
    files = PoolFiles()
    files.read(folder / "pool")
    rows = [*files.instructions, *read_benchmarks([folder / "items.jsonl"])]
    drawn = np.random.default_rng(seed)
    centers = drawn.normal(size=(CLUSTERS, SIZE)).astype(np.float32) / np.sqrt(SIZE)
    store = VectorStore(Paths(folder).vectors, vectors_name(EmbeddedBy()))
    for start in range(0, len(rows), BLOCK):
        texts = [conversation_text(one) for one in rows[start : start + BLOCK]]
        noise = drawn.normal(size=(len(texts), SIZE)).astype(np.float32) / np.sqrt(SIZE)
        # Within a cluster cosines are about 0.5.
        vectors = centers[drawn.integers(0, CLUSTERS, len(texts))] + noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.put(dict(zip(texts, vectors, strict=True)))


def params(rows: int, vectors: bool) -> dict[str, object]:
    chosen = {"test_set": "mix", "test_clusters": CLUSTERS} if vectors else {}
    return {
        "weights": {"source": "models/none"},
        "pool": {
            "instructions": "pool",
            "benchmarks": ["items.jsonl"],
            "splits": {f"d{n}": rows // 20 for n in range(1, 10)},
            "validation": rows // 50,
            "test": rows // 50,
            **chosen,
            "filters": {
                "toxic_words": True,
                "near_duplicate": THRESHOLD,
                "language_by": "text",
                "max_tokens": 2048,
                "contamination": 0.85 if vectors else 0.0,
                "nearest": 5 if vectors else 0,
                "overlap": 0.5,
            },
        },
        "opponents": {"expert": {"engine": "recorded", "model": "expert.jsonl"}},
        "judges": {"rubric": {"kind": "rubric"}},
        "rounds": {
            "sft-i1": {
                "index": 0,
                "method": "sft",
                "split": "d1",
                "target": "base",
                "init": "base",
                "threshold": 1.0,
                "adds_to": "none",
                "labels": "none",
            }
        },
    }


def measure(rows: int, items: int, seed: int, vectors: bool) -> tuple[Measured, bool]:
    """Make a pool, prepare it, print what was found; return the costs and whether the goal was met."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng, chain = random.Random(seed + 2), Chain(corpus())
        held_out = [" ".join(chain.words(max(40, length(rng)), rng)) for _ in range(items)]
        lines = [json.dumps({"question_id": n, "turns": [text]}) + "\n" for n, text in enumerate(held_out)]
        (folder / "items.jsonl").write_text("".join(lines), encoding="utf-8")
        kinds = written(make_rows(rows, held_out, seed), folder / "pool", seed)
        (folder / "params.yaml").write_text(yaml.safe_dump(params(rows, vectors)), encoding="utf-8")
        if vectors:
            save_vectors(folder, seed)
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", PREPARE], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"arena prepare failed with status {status}")
        seconds = time.monotonic() - start
        peak = int((folder / "peak").read_text(encoding="utf-8")) / 2**20
        cost = Measured(rows, seconds, usage.ru_utime + usage.ru_stime, peak)
        dropped = [
            json.loads(line)
            for line in (folder / "data" / "prepared" / "dropped.jsonl")
            .read_text(encoding="utf-8")
            .splitlines()
        ]
    return cost, scored(kinds, dropped, cost)


class Measured(NamedTuple):
    """What one preparation took: seconds, seconds of the processor (user and system), GiB at most."""

    rows: int
    seconds: float
    processor: float
    memory: float


def scored(kinds: dict[str, str], dropped: list[dict[str, str]], cost: Measured) -> bool:
    # Copies of rows that the test or validation set holds are dropped for that, as they should be.
    own = [row for row in dropped if row["reason"] == "overlap" and not row["like"].startswith("items:")]
    # So are two copies of one benchmark item: the second is a duplicate of the first.
    twins = [row for row in dropped if "item" == kinds[row["id"]] == kinds.get(row["like"])]
    taken = {row["id"] for row in [*own, *twins]}
    gone = {row["id"] for row in twins}
    kinds = {name: kind for name, kind in kinds.items() if name not in gone}
    dropped = [row for row in dropped if row["id"] not in taken]
    planted, reasons = Counter(kinds.values()), Counter(row["reason"] for row in dropped)
    hits = Counter((kinds[row["id"]], row["reason"]) for row in dropped)
    print(
        f"\n{cost.rows} rows: {cost.seconds:.0f} s, {cost.processor:.0f} s of the processor, "
        f"{cost.memory:.2f} GiB at most"
    )
    print(f"{'kind':10} {'planted':>8} {'found':>8} {'recall':>8} {'precision':>10}")
    good = True
    for kind, reason in REASONS.items():
        found = hits[kind, reason]
        recall, precision = found / max(planted[kind], 1), found / max(reasons[reason], 1)
        good &= recall >= GOAL and precision >= GOAL
        print(f"{kind:10} {planted[kind]:8} {found:8} {recall:8.4f} {precision:10.4f}")
    print(f"not counted above: {len(own)} overlaps with own held-out rows, {len(twins)} copies of one item")
    for kind in ("alike", "quarter", "plain"):
        lost = {reason: n for (of, reason), n in hits.items() if of == kind}
        print(f"{kind:10} {planted[kind]:8} dropped: {lost or 'none'}")
    return good


def draw(measured: list[Measured], path: Path) -> None:
    """Draw seconds of the processor and memory over the rows, on logarithmic axes, beside growth in proportion."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [one.rows for one in measured]
    figure, both = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, name, values in (
        (both[0], "seconds of the processor", [one.processor for one in measured]),
        (both[1], "GiB of memory at most", [one.memory for one in measured]),
    ):
        axes.plot(rows, values, "o-", color="#2457a6", label="measured")
        last = [values[-1] * count / rows[-1] for count in rows]
        axes.plot(rows, last, "--", color="#888888", label="in proportion to the largest")
        for count, value in zip(rows, values, strict=True):
            axes.annotate(
                f"{value:.3g}", (count, value), textcoords="offset points", xytext=(-6, 7), ha="right"
            )
        axes.set(xscale="log", yscale="log", xlabel="rows of the pool", title=name)
        axes.margins(x=0.15, y=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, action="append", help="rows of the pool (repeatable)")
    parser.add_argument("--items", type=int, default=2500, help="benchmark items")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--vectors", action="store_true", help="compare embeddings too, and choose by clusters"
    )
    parser.add_argument("--figure", type=Path, help="draw the growth into this file")
    asked = parser.parse_args()
    measured, good = [], True
    for rows in asked.rows or [276_000]:
        cost, met = measure(rows, asked.items, asked.seed, asked.vectors)
        measured.append(cost)
        good &= met
        print("rows, seconds, of the processor, GiB: ", end="")
        print(f"{cost.rows}, {cost.seconds:.0f}, {cost.processor:.0f}, {cost.memory:.2f}", flush=True)
    if asked.figure:
        draw(measured, asked.figure)
    print(f"every recall and precision at least {GOAL}: {'yes' if good else 'NO'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
