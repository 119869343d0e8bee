"""From parameters to engines, on a project with tiny models."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.engines.build import open_engine, open_opponent
from arena_learning.params import Opponent, parse_params
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Instruction
from arena_learning.testing.engine_suite import PLAIN

INSTRUCTIONS = [Instruction(id=f"i{n}", turns=tuple(turns)) for n, turns in enumerate(PLAIN)]
ROUND = {"index": 1, "method": "sft", "split": "d1", "target": "base", "init": "base", "threshold": 1.0}


@pytest.fixture
def paths(tmp_path, tiny_model):
    paths = Paths(tmp_path)
    for name in ("base", "sft-i1"):
        shutil.copytree(tiny_model, paths.model(name))
    lines = [json.dumps({"id": i.id, "text": f"answer to {i.id}"}) for i in INSTRUCTIONS]
    (tmp_path / "expert.jsonl").write_text("\n".join(lines))
    return paths


def has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None


def params(tiny_model, **serving):
    return parse_params(
        {
            "weights": {"source": str(tiny_model)},
            "serving": {
                "engine": "transformers",
                "dtype": "fp32",
                "device": "cpu",
                "batch_size": 2,
                **serving,
            },
            "pool": {"splits": {"d1": 4}, "test": 4},
            "opponents": {
                "expert": {"engine": "recorded", "model": "expert.jsonl"},
                "poet": {"engine": "transformers", "model": "models/base", "system": "Answer in verse."},
                "far": {"engine": "vllm", "model": "models/base"},
            },
            "judges": {"rubric": {"kind": "rubric"}},
            "rounds": {"sft-i1": ROUND},
        },
        "params.yaml",
    )


@pytest.mark.torch
def test_every_contestant_answers_through_its_engine(tiny_model, paths):
    kinds = {}
    for name in ("base", "sft-i1", "expert", "poet"):
        engine = open_engine(name, params(tiny_model), paths, INSTRUCTIONS)
        kinds[name] = engine.fingerprint["engine"]
        assert len(engine.respond([INSTRUCTIONS[0].turns], Sampling(max_tokens=2))) == 1
        assert engine.fingerprint.get("system", "") == ("Answer in verse." if name == "poet" else "")
        engine.close()
    assert kinds == {
        "base": "transformers",
        "sft-i1": "transformers",
        "expert": "recorded",
        "poet": "transformers",
    }


@pytest.mark.torch
def test_an_opponents_type_falls_back_to_its_engines_first(tiny_model, paths):
    # serving.dtype q8_0 belongs to OpenVINO; an opponent that transformers serves gets fp32.
    given = params(tiny_model, engine="openvino", dtype="q8_0")
    assert open_engine("poet", given, paths).fingerprint["dtype"] == "fp32"


@pytest.mark.torch
def test_a_gguf_opponent_is_prepared_once(tiny_model, paths, tmp_path):
    from arena_learning.engines.gguf.export import export_gguf

    export_gguf(tiny_model, None, tmp_path / "other.gguf", "f16")
    opponent = Opponent(engine="transformers", model="other.gguf")
    for _ in range(2):
        engine = open_opponent(opponent, params(tiny_model), paths, where="opponents.other")
        assert len(engine.respond([PLAIN[0]], Sampling(max_tokens=2))) == 1
    assert len([path for path in (paths.scratch / "weights").iterdir() if path.is_dir()]) == 1


@pytest.mark.torch
def test_openvino_serves_the_base_and_an_opponent_from_exports(tiny_model, paths):
    pytest.importorskip("openvino_genai", reason="needs the extra 'laptop'")
    given = params(tiny_model, engine="openvino", dtype="f16")
    engine = open_engine("base", given, paths)
    assert len(engine.respond(PLAIN, Sampling(max_tokens=2))) == len(PLAIN)
    engine.close()
    open_opponent(Opponent(engine="openvino", model="models/sft-i1"), given, paths, where="judges.x").close()
    assert len(list(paths.exports.glob("*.gguf"))) == 1  # the same content


def test_what_cannot_be_opened_says_what_can(tiny_model, paths):
    with pytest.raises(ArenaError, match="no contestant 'bas'; did you mean 'base'"):
        open_engine("bas", params(tiny_model), paths)
    if not has_vllm():
        with pytest.raises(ArenaError, match=r"opponents.far.engine: vllm: vLLM is not installed"):
            open_engine("far", params(tiny_model), paths)
        with pytest.raises(ArenaError, match=r"serving.engine: vllm: vLLM is not installed"):
            open_engine("base", params(tiny_model, engine="vllm", dtype="bf16"), paths)
    with pytest.raises(ArenaError, match="transformers does not serve weights in q8_0"):
        open_engine("base", params(tiny_model, dtype="q8_0"), paths)
    with pytest.raises(ArenaError, match="OpenVINO does not run on CUDA"):
        open_engine("base", params(tiny_model, engine="openvino", dtype="f16", device="cuda"), paths)


@pytest.mark.torch
def test_a_round_that_is_not_trained_yet_names_its_folder(tiny_model, paths):
    shutil.rmtree(paths.model("sft-i1"))
    with pytest.raises(ArenaError, match="no such model folder") as caught:
        open_engine("sft-i1", params(tiny_model), paths)
    assert caught.value.where == str(paths.model("sft-i1"))


def test_the_room_is_light_to_import():
    code = (
        "import sys, arena_learning.engines, arena_learning.engines.base, arena_learning.engines.build\n"
        "heavy = {'torch', 'transformers', 'numpy', 'openvino', 'gguf'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
