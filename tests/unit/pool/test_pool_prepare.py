from __future__ import annotations

import json

import numpy as np
import pytest

from arena_learning.core.json_files import read_json
from arena_learning.core.paths import Paths
from arena_learning.params import parse_params
from arena_learning.pool.contamination import decontaminate
from arena_learning.pool.embeddings import Embedder, shared_embedder
from arena_learning.pool.filters import Dropped
from arena_learning.pool.prepare import prepare_pool
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Instruction

pytestmark = pytest.mark.torch

QUESTION = "How do I remove a red wine stain from a white cotton shirt?"
PARAPHRASE = "What is the way to remove a red wine stain from a white cotton shirt?"
OTHER = "Explain the difference between a lease and a licence in English law."


def test_vectors_have_length_one_and_do_not_depend_on_their_batch():
    alone = Embedder().embed([QUESTION])
    among = Embedder().embed([OTHER * 20, QUESTION, "", OTHER])
    assert among.shape == (4, 384)
    assert np.linalg.norm(among, axis=1) == pytest.approx(np.ones(4), abs=1e-3)
    assert np.abs(alone[0] - among[1]).max() < 1e-4
    assert Embedder().embed([]).shape == (0, 384)


def test_a_paraphrase_of_a_held_out_item_is_dropped_and_names_it(make_instruction):
    pool = [make_instruction("close", PARAPHRASE), make_instruction("far", OTHER)]
    kept, dropped = decontaminate(pool, [make_instruction("held", QUESTION)], 0.85, 0)
    assert [i.id for i in kept] == ["far"]
    assert dropped == [Dropped("close", "contamination", "held")]


def test_the_papers_rule_drops_the_nearest_of_each_held_out_item(make_instruction):
    pool = [make_instruction("close", PARAPHRASE), make_instruction("far", OTHER)]
    held = [make_instruction("h1", QUESTION), make_instruction("h2", QUESTION + " Quickly!")]
    kept, dropped = decontaminate(pool, held, 0, 1)
    assert [i.id for i in kept] == ["far"]
    assert [d.reason for d in dropped] == ["nearest to a held-out item"]
    assert decontaminate(pool, held, 0, 5)[0] == []


def test_switched_off_it_keeps_all(make_instruction):
    pool = [make_instruction("same", QUESTION)]
    assert decontaminate(pool, [make_instruction("held", QUESTION)], 0, 0) == (pool, [])


def test_hostile_texts_have_vectors():
    texts = ["word " * 20_000, "👩‍👩‍👧‍👦", "\u202eمرحبا", "{{ 7 * 7 }}", "\x00"]
    assert np.isfinite(shared_embedder().embed(texts)).all()


def test_prepare_writes_every_file_and_the_same_bytes_again(tmp_path, make_params):
    topics = [
        "tides",
        "bread",
        "bicycles",
        "glaciers",
        "chess",
        "violins",
        "bees",
        "volcanoes",
        "satellites",
        "tax",
        "poems",
        "soap",
    ]
    rows = [
        {
            "id": f"{n:02}",
            "category": "xy"[n % 2],
            "turns": [{"role": "user", "content": f"What should I know of {t}?"}],
        }
        for n, t in enumerate(topics)
    ]
    rows.append({**rows[0], "id": "twin"})
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    (tmp_path / "expert.jsonl").write_text('{"id": "03", "text": "Ice that flows."}\n', encoding="utf-8")
    pool = {
        "instructions": "pool.jsonl",
        "references": "expert.jsonl",
        "splits": {"d1": 3},
        "validation": 2,
        "test": 4,
    }
    params, paths = parse_params(make_params(pool=pool), "here"), Paths(tmp_path)

    card = prepare_pool(params, paths)

    assert card == read_json(paths.prepare_card)
    assert card["read"] == 13
    assert card["dropped"]["exact duplicate"] == 1
    files = set(paths.split("d1").parent.glob("*.jsonl")) - {paths.dropped}
    splits = {p.stem: read_rows(p, Instruction) for p in files}
    assert [json.loads(line)["id"] for line in paths.dropped.read_text().splitlines()] == ["twin"]
    assert {n: len(r) for n, r in splits.items() if r} == {"d1": 3, "validation": 2, "test": 4}
    assert set(splits) == {"none", "validation", "test", *(f"d{n}" for n in range(10))}
    assert all(
        i.reference == ("Ice that flows." if i.id == "03" else None) for r in splits.values() for i in r
    )
    assert paths.sft("none").read_bytes() == paths.preferences("none").read_bytes() == b""
    before = {p: p.read_bytes() for p in paths.split("d1").parent.iterdir()}
    assert paths.vectors.is_file()  # the next preparation, and judges, have these vectors
    prepare_pool(params, paths)
    assert before == {p: p.read_bytes() for p in paths.split("d1").parent.iterdir()}
