"""What `arena doctor` says about bf16."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arena_learning.core import Paths
from arena_learning.core.json_files import write_text
from arena_learning.params import Train
from arena_learning.project.doctor import examine
from arena_learning.train import choose_precision

pytestmark = pytest.mark.torch
FLAGS = Path("/proc/cpuinfo")


@pytest.fixture
def found(tmp_path, make_params):
    """Return the doctor's findings about bf16, under a precision."""

    def examined(precision):
        params = make_params()
        params["train"] = {**params.get("train", {}), "precision": precision, "device": "cpu"}
        write_text(tmp_path / "params.yaml", yaml.safe_dump(params))
        said = examine(Paths(tmp_path))  # a folder of a test on bf16 has it in its name
        return [one for one in said if "bf16" in one.what.replace(str(tmp_path), "")]

    return examined


@pytest.mark.skipif(not FLAGS.exists() or "fma" not in FLAGS.read_text(), reason="needs an x86 Linux machine")
def test_bf16_is_fit_where_the_processor_has_it(found):
    able = any(flag in FLAGS.read_text().split() for flag in ("avx512_bf16", "amx_bf16"))
    assert [one.level for one in found("bf16")] == ["ok" if able else "warn"]


def test_where_bf16_is_emulated_the_line_to_change_is_named(found, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    (one,) = found("bf16")
    assert one.level == "warn"
    assert "train.precision" in one.hint
    assert "fp32" in one.hint


def test_fp32_needs_no_word(found):
    assert found("fp32") == []


@pytest.mark.parametrize(("able", "is_there"), [(True, "bf16, which"), (False, "fp32, because")])
def test_auto_is_what_the_processor_computes_in(found, monkeypatch, able, is_there):
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": able})
    (one,) = found("auto")
    assert one.level == "ok"
    assert f"train.precision auto: {is_there}" in one.what
    assert choose_precision(Train(precision="auto", device="cpu")) == ("bf16" if able else "fp32")
    assert choose_precision(Train(precision="bf16", device="cpu")) == "bf16"  # what is asked for is done
