"""Shared by the sweep tests: a project with a tiny model whose battles have been judged, and no other stage needed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from arena_learning.core.paths import Paths  # noqa: E402
from arena_learning.params import load_params  # noqa: E402
from arena_learning.schema.row_files import write_rows  # noqa: E402
from arena_learning.schema.rows import Battle, Instruction, Response, Turn  # noqa: E402

# MLflow's own, on the pinned SQLAlchemy and pandas.
THEIRS = (
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    "ignore:For backward compatibility, 'str' dtypes are included:DeprecationWarning",
)
QUESTIONS = 12
LETTERS = ("the", "a", "is", "river", "blue", "planet")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for line in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(line))


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "ARENA_SWEEP_WORKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    from tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def project(tmp_path, tiny_model):
    """Parameters and paths of a project whose round dpo-i1 has been judged; its start is the tiny model."""
    root = tmp_path / "clone"
    shutil.copytree(tiny_model, root / "models" / "base")
    return write_project(root)


@pytest.fixture
def write_pairs():
    return make_pairs


@pytest.fixture
def files(tmp_path):
    """Parameters and paths of the same project without a model: for judges that need none."""
    return write_project(tmp_path / "clone")


def make_pairs(path, count=40, label=None):
    """Pairs whose longer answer is the better one, except every fifth: there the two are nearly as long, and a tie."""
    rows = []
    for n in range(count):
        long, short = " ".join(["word"] * 20), " ".join(["word"] * (19 if n % 5 == 0 else 4))
        a, b = (long, short) if n % 2 else (short, long)
        true = "tie" if n % 5 == 0 else "model_a" if n % 2 else "model_b"
        rows.append(
            {
                "id": f"p{n}",
                "instruction": f"Question {n}?",
                "response_a": a,
                "response_b": b,
                "label": label or true,
                "category": "other",
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_project(root: Path):
    """Write parameters and a judged round below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(
        f"# keep me\n{yaml.safe_dump(raw_params(), sort_keys=False)}", encoding="utf-8"
    )
    params, paths = load_params(root / "params.yaml"), Paths(root)
    write_rows(paths.split("d1"), [_instruction(f"d1-{n}") for n in range(QUESTIONS)])
    write_rows(paths.split("validation"), [_instruction(f"v-{n}") for n in range(8)])
    write_rows(
        paths.responses("dpo-i1"),
        [_response(f"d1-{n}", who) for n in range(QUESTIONS) for who in ("base", "expert", "plain")],
    )
    write_rows(paths.battles("dpo-i1"), [b for n in range(QUESTIONS) for b in _battles(f"d1-{n}", n)])
    write_rows(paths.preferences("none"), [])
    write_rows(paths.sft("none"), [])
    return params, paths


def raw_params():
    training = {
        "epochs": 1,
        "batch_size": 4,
        "device_batch_size": 4,
        "max_length": 256,
        "learning_rate": 0.001,
    }
    return {
        "seed": 3,
        "weights": {"source": "models/base"},
        "serving": {"engine": "transformers", "dtype": "fp32", "batch_size": 8, "device": "cpu"},
        "sampling": {"max_tokens": 6},
        "pool": {"splits": {"d1": QUESTIONS}, "test": 1, "validation": 8},
        "opponents": {who: {"engine": "recorded", "model": f"{who}.jsonl"} for who in ("expert", "plain")},
        "judges": {"rubric": {"kind": "rubric"}, "longer": {"kind": "longer"}},
        "evaluate": {"judges": ["rubric", "longer"]},
        "train": {"device": "cpu", "dpo": {**training, "beta": 0.1}},
        "rounds": {
            "dpo-i1": {
                "index": 0,
                "method": "dpo",
                "split": "d1",
                "target": "base",
                "init": "base",
                "threshold": 1.0,
                "adds_to": "none",
                "labels": "none",
            }
        },
    }


def _instruction(name):
    return Instruction(
        id=name,
        turns=(Turn(role="user", content=f"Name a river, {name}."),),
        rubric=({"kind": "states", "any": list(LETTERS), "weight": 1.0},),
    )


def _response(instruction, who):
    text = {"expert": "The river is the Danube.", "plain": "A river.", "base": "I do not know that."}[who]
    return Response(
        instruction_id=instruction,
        contestant=who,
        text=text,
        finish_reason="stop",
        prompt_tokens=5,
        completion_tokens=5,
    )


def _battles(instruction, number):
    """The expert beats both, by gaps that rise with the instruction's number: 1.0, 1.5, 2.0, ..."""
    gap = 1 + number / 2
    return [
        Battle(
            instruction_id=instruction,
            category="other",
            judge="j",
            a=a,
            b=b,
            score_a=1 + by if a == "expert" else 1.0,
            score_b=1 + by if b == "expert" else 1.0,
            winner="tie" if not by else "a" if a == "expert" else "b",
            gap=by,
            orders_agree=True,
            games=2,
        )
        for a, b, by in (("base", "expert", gap), ("base", "plain", 0.0), ("expert", "plain", gap - 0.5))
    ]
