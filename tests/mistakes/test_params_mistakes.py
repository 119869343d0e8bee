"""Mistakes in params.yaml: each is told before anything runs, and the project is right again after what the hint says."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mistakes.hour import Hour

CHECK = "arena rounds check"


class Misspelt(NamedTuple):
    """A wrong word in params.yaml in place of a right one, which the message suggests."""

    right: str
    wrong: str
    said: str


@pytest.mark.parametrize(
    "one",
    [
        Misspelt("same_prefix: 0", "same_prefx: 0", "pool.filters.same_prefx: unknown key"),
        Misspelt("method: dpo", "method: dpoo", "rounds.dpo-i1.method"),
        Misspelt("name: rubric", "name: rubrik", "no judge 'rubrik'"),
        Misspelt("kind: rubric", "kind: rubrc", "judges.rubric.kind"),
        Misspelt("engine: recorded", "engine: recordd", "opponents.strong.engine"),
        Misspelt("engine: openvino", "engine: openvin", "serving.engine"),
        Misspelt("target: sft-i1", "target: sft-l1", "rounds.dpo-i1.target: no model 'sft-l1'"),
        Misspelt("init: sft-i1", "init: stf-i1", "rounds.dpo-i1.init: no model 'stf-i1'"),
        Misspelt("anchor: base", "anchor: bse", "evaluate.anchor: no contestant 'bse'"),
        Misspelt("split: d2", "split: dd2", "rounds.dpo-i1.split: no training split 'dd2'"),
        Misspelt("pairs: samples", "pairs: smples", "dataset.pairs"),
        Misspelt("precision: fp32", "precision: f32", "train.precision"),
    ],
    ids=lambda one: one.wrong,
)
def test_a_misspelt_word_gets_the_right_one(hour: Hour, one: Misspelt) -> None:
    hour.replace(one.right, one.wrong)
    said = hour.fails(CHECK, "params.yaml", one.said)
    wrong = one.wrong.partition(":")[0] if "unknown key" in one.said else one.wrong.split(": ")[1]
    hour.replace(wrong, said.meant)
    hour.works(CHECK)


class Refused(NamedTuple):
    """A change of params.yaml, what is said of it, and the change that the message asks for."""

    old: str
    new: str
    said: tuple[str, ...]
    mended: str


@pytest.mark.parametrize(
    "one",
    [
        Refused("learning_rate: 0.0003", "learning_rate: -0.0003", ("train.sft.learning_rate", "should be greater than 0", "-0.0003"), "learning_rate: 0.0003"),
        Refused("learning_rate: 0.0003", "learning_rate: fast", ("train.sft.learning_rate", "a number", "'fast'"), "learning_rate: 0.0001"),
        Refused("max_tokens: 8\n", "max_tokens: 0\n", ("sampling.max_tokens", "should be greater than", "it is 0"), "max_tokens: 1\n"),
        Refused("temperature: 0.0\n", "temperature: 0.0\n  seed: 1\n", ("line", "'seed' is given twice", "remove one of the two"), "temperature: 0.0\n"),
        Refused("sampling:\n  max", "sampling:\n\tmax", ("params.yaml, line 12", "a tab", "spaces"), "sampling:\n  max"),
        Refused("seed: 20240715\n", "<<<<<<< HEAD\nseed: 20240715\n=======\nseed: 7\n>>>>>>> other\n", ("params.yaml, line 1", "conflict", "keep one side"), "seed: 7\n"),
        Refused("seed: 20240715\n", "seed 20240715\n", ("params.yaml, line ", "colon"), "seed: 20240715\n"),
        Refused("target: sft-i1\n    init: sft-i1", "target: dpo-i1\n    init: sft-i1", ("rounds.dpo-i1.target: 'dpo-i1' is not earlier", "name an earlier round"), "target: sft-i1\n    init: sft-i1"),
        Refused("index: 1\n    method: dpo", "index: 0\n    method: dpo", ("rounds.dpo-i1.index: 0 is already used by sft-i1", "its own"), "index: 3\n    method: dpo"),
        Refused("split: d2\n    target: sft-i1", "split: d1\n    target: sft-i1", ("rounds.dpo-i1.split: d1 is already used by sft-i1", "its own"), "split: d2\n    target: sft-i1"),
        Refused("split: d2", "split: d4", ("rounds.dpo-i1.split: d4 has no instructions", "pool.splits"), "split: d2"),
        Refused("labels: none\n  dpo", "labels: weak\n  dpo", ("rounds.sft-i1.labels", "set one of the two to none"), "labels: none\n  dpo"),
        Refused("samples: 4", "samples: 1", ("dataset.pairs", "battle.samples is 1", "set it to 2 or more"), "samples: 2"),
    ],
    ids=lambda one: one.new.splitlines()[0],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_place(hour: Hour, one: Refused) -> None:
    hour.replace(one.old, one.new)
    hour.fails(CHECK, *one.said)
    hour.replace(one.new, one.mended)
    hour.works(CHECK)


def test_a_number_that_yaml_reads_as_text_is_taken_as_the_number(hour: Hour) -> None:
    """YAML 1.1 takes 2e-4, without a dot, for a text."""
    hour.replace("learning_rate: 0.0003", "learning_rate: 2e-4")
    hour.works(CHECK)


def test_a_params_yaml_of_before_the_first_release(hour: Hour) -> None:
    """Sections that came later are filled with their defaults, so what ran then still runs."""
    hour.set(lambda p: [p.pop(name) for name in ("gate", "battle", "dataset")])
    hour.set(lambda p: [p["sampling"].pop(name) for name in ("top_p", "repetition_penalty")])
    hour.set(lambda p: [p["rounds"][name].pop("labels") for name in p["rounds"]])
    hour.works(CHECK)


def test_no_params_yaml(hour: Hour) -> None:
    (hour.root / "params.yaml").unlink()
    said = hour.fails("arena doctor", "no params.yaml", "hint: ")
    assert said.command == "arena init"
    hour.works(said.command)
    hour.works(CHECK)


def test_outside_of_a_project(bare: Hour) -> None:
    for command in ("arena repro", "arena rounds list", "arena leaderboard --print"):
        said = bare.fails(command, "no params.yaml", str(bare.root))
    bare.works(f"{said.command} my-arena")
    bare.works("cd my-arena && arena rounds check", "rounds, in order")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("arena battle sft-l1", "no round 'sft-l1'"),
        ("arena answer strng", "no contestant 'strng'"),
        ("arena rounds lst", "no such command"),
        ("arena dctor", "no command 'dctor'"),
        ("arena rounds list --jsn", "--jsn"),
    ],
)
def test_a_misspelt_name_of_a_command_gets_the_right_one(hour: Hour, command: str, said: str) -> None:
    done = hour.run(command)
    assert done.code == 2
    assert said.lower() in done.text.lower()
    assert "did you mean" in done.text.lower(), done.text


def test_an_unknown_profile(bare: Hour) -> None:
    said = bare.fails("arena init --profile laptp", "laptp")
    bare.works(f"arena init --profile {said.meant}")


def test_a_project_that_is_there_already(hour: Hour) -> None:
    hour.fails("arena init", "params.yaml", "exists already", "--force")
    hour.works("arena init --force")


def test_a_key_of_an_endpoint_in_params_yaml(hour: Hour) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    hour.set(lambda p: p["judges"].update(far={"kind": "llm", "engine": "openai", "model": "m", "base_url": "http://localhost:1/v1", "api_key": key}))  # fmt: skip
    said = hour.fails(CHECK, "judges.far.api_key", "api_key_env")
    assert key not in said.text
    hour.replace(f"api_key: {key}", "api_key_env: A_KEY")
    hour.works(CHECK)
