"""Names in params.yaml: refused where DVC, YAML, MLflow or a file system would take them for something else."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from arena_learning.core.errors import ArenaError
from arena_learning.params import load_params, parse_params
from arena_learning.params.names import LONGEST, check_name, is_no_text, suggested

FINE = [
    "sft-i2",
    "Qwen2",
    "a_b",
    "7b-chat",
    "gpt-4o",
    "x",
    "no1",
    "nope",
    "on-policy",
    "llama-3-70b",
    "a--b",
]
DOTTED = ["qwen2.5-0.5b", "gpt-4.1", "v1.", "a.b.c"]
NO_TEXT = [
    "no",
    "NO",
    "on",
    "off",
    "Yes",
    "true",
    "null",
    "12",
    "007",
    "08",
    "1_000",
    "1e5",
    "2024-01-01",
    "0x1F",
    "0o17",
]


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("section", ["opponents", "judges", "rounds"])
def test_names_that_all_can_take_are_taken(make_params, section, name):
    raw = make_params()
    raw[section] = {**raw[section], name: next(iter(raw[section].values()))}
    assert name in getattr(parse_params(raw, "here"), section)


@pytest.mark.parametrize(
    "name", [*DOTTED, *NO_TEXT, "a b", "a/b", "../up", "-x", "_x", "", "ä", "{{x}}", "x" * 101]
)
@pytest.mark.parametrize("section", ["opponents", "judges", "rounds"])
def test_names_that_something_would_misread_are_refused_with_their_place(make_params, section, name):
    raw = make_params()
    raw[section] = {**raw[section], name: next(iter(raw[section].values()))}
    with pytest.raises(ArenaError) as caught:
        parse_params(raw, "params.yaml")
    assert f"{section}.{name}: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "qwen2.5-0.5b",
            "a name must not contain a dot, because DVC splits keys at dots; call it 'qwen2-5-0-5b'",
        ),
        ("no", "YAML may read this name as a number, a date or a truth value; call it 'model-no'"),
        ("my model", "call it 'my-model'"),
        ("x" * 101, "the name has 101 characters; at most 100 are allowed"),
    ],
)
def test_the_refusal_says_why_and_which_name_would_do(name, said):
    with pytest.raises(ValueError, match="name") as caught:
        check_name(name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("no", "a truth value (false)"),
        ("on", "a truth value (true)"),
        ("3.5", "a number (3.5)"),
        ("12", "a number (12)"),
        ("null", "nothing (null)"),
        ("~", "nothing (null)"),
        ("2024-01-01", "a date (2024-01-01)"),
    ],
)
@pytest.mark.parametrize("section", ["opponents", "judges", "rounds"])
def test_a_name_that_yaml_makes_something_else_of_is_refused_clearly(
    tmp_path, make_params, section, written, said
):
    raw = make_params()
    raw[section] = {**raw[section], "THE-NAME": next(iter(raw[section].values()))}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(raw).replace("THE-NAME", written), encoding="utf-8")
    with pytest.raises(ArenaError) as caught:
        load_params(file)
    assert f"YAML reads this name as {said}, not as text; choose another name" in str(caught.value)
    assert f"{section}." in str(caught.value)
    assert "[key]" not in str(caught.value)


@pytest.mark.parametrize("field", ["target", "init", "adds_to", "labels"])
def test_a_reference_that_yaml_makes_something_else_of_is_refused_clearly(make_params, field):
    raw = make_params()
    raw["rounds"]["dpo-i1"][field] = False
    with pytest.raises(ArenaError, match=rf"rounds\.dpo-i1\.{field}: YAML reads this name as a truth value"):
        parse_params(raw, "here")


@pytest.mark.parametrize(
    ("section", "name", "other"),
    [
        ("opponents", "Expert", "expert"),
        ("opponents", "BASE", "base"),
        ("opponents", "SFT-I1", "sft-i1"),
        ("rounds", "Sft-i1", "sft-i1"),
        ("rounds", "EXPERT", "expert"),
        ("rounds", "None", "none"),
        ("judges", "Rubric", "rubric"),
    ],
)
def test_names_that_differ_by_case_alone_are_refused(make_params, section, name, other):
    raw = make_params()
    raw[section] = {**raw[section], name: next(iter(raw[section].values()))}
    with pytest.raises(ArenaError, match="only in upper and lower case") as caught:
        parse_params(raw, "here")
    assert name in str(caught.value)
    assert other in str(caught.value)


def test_a_judge_and_a_contestant_are_no_namesakes(make_params):
    raw = make_params()
    raw["opponents"]["Rubric"] = raw["opponents"]["expert"]
    parse_params(raw, "here")


@pytest.mark.parametrize("name", ["rubric_lower", "rubric_upper", "rubric_vs", "rubric_vs_expert"])
def test_a_judge_whose_metrics_would_be_anothers_is_refused(make_params, name):
    raw = make_params()
    raw["judges"][name] = raw["judges"]["rubric"]
    with pytest.raises(ArenaError, match=rf"judges\.{name}: .*MLflow"):
        parse_params(raw, "here")


WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
NUMBERS = st.from_regex(r"0?[box]?[0-9_]{1,4}([eE]-?[0-9]{1,2})?(-[0-9]{2}-[0-9]{2})?", fullmatch=True)


@given(WORDS | NUMBERS)
@example("1_0")
@example("0b1")
@example("NULL")
def test_a_name_is_text_for_the_yaml_readers_of_dvc_and_of_this_project(name):
    try:
        check_name(name)
    except ValueError:
        return
    assert yaml.safe_load(f"{name}: 1") == {name: 1}
    assert YAML(typ="safe", pure=True).load(f"{name}: 1") == {name: 1}
    assert YAML().load(f"{name}: 1") == {name: 1}


@given(st.text(max_size=LONGEST + 20))
def test_what_is_suggested_is_a_name(text):
    if found := suggested(text):
        assert not is_no_text(found)
        assert check_name(found) == found
