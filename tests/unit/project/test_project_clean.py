from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from arena_learning.cli.project import clean as command
from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import write_text
from arena_learning.engines.weights import weights_digest
from arena_learning.project.disk import disk_usage, size_of


@pytest.fixture
def filled(project):
    """The project with two exports, one of a model that is no longer there, and some memory."""
    _, paths = project
    digest = weights_digest(paths.model("base"))[:24]
    write_text(paths.exports / f"{digest}-made-q8_0-v1.gguf", "g" * 50)
    write_text(paths.exports / "0123-made-q8_0-v1.gguf", "g" * 60)
    write_text(paths.store, "s" * 70)
    write_text(paths.vectors, "v" * 80)
    write_text(paths.vectors.with_name(f"{paths.vectors.name}-wal"), "w" * 10)
    return project


def test_a_file_linked_twice_counts_once_and_links_lead_nowhere(tmp_path):
    write_text(tmp_path / "in" / "a", "x" * 100)
    write_text(tmp_path / "out", "x" * 1000)
    os.link(tmp_path / "in" / "a", tmp_path / "in" / "b")
    (tmp_path / "in" / "c").symlink_to(tmp_path / "out")
    assert size_of(tmp_path / "in") == 100
    assert size_of(tmp_path / "nowhere") == 0


def test_every_round_is_accounted_for(filled):
    params, paths = filled
    sizes = {(item.kind, item.owner): item.size for item in disk_usage(params, paths) if item.owner != "-"}
    for name in ("sft-i1", "dpo-i1", "ppo-i1"):
        assert sizes["model", name] == 200
        assert sizes["reward model", name] == 100
        assert sizes["rows", name] == 200
        assert sizes["checkpoints", name] == 100
    # All models hold the same bytes here, so the export of one is the export of all: the last owner is named.
    assert [size for (kind, _), size in sizes.items() if kind == "export"] == [50]


def test_cleaning_shows_first_frees_then_and_never_touches_what_was_paid(filled):
    params, paths = filled
    shown = CliRunner().invoke(command, [], catch_exceptions=False).output
    assert "would free (with --yes):" in shown
    assert len(list(paths.exports.iterdir())) == 2
    done = json.loads(CliRunner().invoke(command, ["--yes", "--json"], catch_exceptions=False).output)
    assert {line["kind"]: line["size"] for line in done["freed"]} == {
        "export": 110,
        "checkpoints": 300,
        "opponents' weights": 0,
        "embeddings": 90,
        "experiments": 0,
        "DVC cache": 0,
    }
    assert list(paths.exports.iterdir()) == []
    assert not paths.vectors.parent.exists()
    assert paths.store.read_text(encoding="utf-8") == "s" * 70
    kinds = {item.kind for item in disk_usage(params, paths)}
    assert kinds == {"model", "reward model", "rows", "arena", "memory"}


def test_one_kind_alone(filled):
    _, paths = filled
    CliRunner().invoke(command, ["--yes", "--only", "checkpoints"], catch_exceptions=False)
    assert len(list(paths.exports.iterdir())) == 2
    assert not paths.checkpoints("sft-i1").exists()


def test_a_kind_that_is_never_freed_is_refused(filled):
    with pytest.raises(ArenaError, match="'memory' is no kind of file to remove"):
        CliRunner().invoke(command, ["--only", "memory"], catch_exceptions=False)
