"""Secrets in params.yaml: refused by their place, never shown, wherever they stand and whatever else is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from arena_learning.core.errors import ArenaError
from arena_learning.core.redact import redacted, secrets_in
from arena_learning.params import load_params, parse_params

OPENAI = "sk-planted-0123456789abcdef"
HUB = "hf_planted0123456789abcdef"  # could be a variable's name, too
TOKENS = [
    OPENAI,
    HUB,
    "ghp_planted0123456789abcdef",
    "github_pat_planted0123456789abcdef",
    "glpat-planted0123456789ab",
    "xoxb-planted-0123456789",
    "AKIAPLANTED012345678",
    "AIzaplanted0123456789abcdefghijklmnop",
    "Bearer planted0123456789",
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_found_and_hidden(token):
    assert list(secrets_in({"a": [{"b": f"say {token} now"}]})) == ["a.0.b"]
    assert redacted(f"say {token} now") == "say *** now"


@pytest.mark.parametrize(
    "text", ["a risk-averse bank-manager", "max_tokens", "sk-1", "hf_hub", "models/base", "Bearer of news"]
)
def test_plain_words_are_none(text):
    assert not list(secrets_in({"a": text}))
    assert redacted(text) == text


def test_users_and_passwords_leave_addresses():
    assert redacted("at https://me:pass@host/v1: no answer") == "at https://***@host/v1: no answer"


def hosted(**fields):
    return {"engine": "openai", "model": "m", "base_url": "https://host/v1", **fields}


PLACES = {
    "opponents.x.extra_body.api_key": {"opponents": {"x": hosted(extra_body={"api_key": "plain words"})}},
    "opponents.x.extra_body.headers.Authorization": {
        "opponents": {"x": hosted(extra_body={"headers": {"Authorization": "plain words"}})}
    },
    "opponents.x.api_key_env": {"opponents": {"x": hosted(api_key_env=OPENAI)}},
    "opponents.x.system": {"opponents": {"x": hosted(system=f"Use {HUB}.")}},
    "judges.rubric.model": {"judges": {"rubric": {"kind": "reward", "model": OPENAI}}},
    "weights.source": {"weights": {"source": f"https://host/{HUB}"}},
    "sed": {"sed": OPENAI},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_refused_by_its_place_and_never_shown(make_params, place):
    with pytest.raises(ArenaError) as caught:
        parse_params(make_params(**PLACES[place]), "params.yaml")
    said = str(caught.value)
    assert f"secret found at {place}" in said
    assert "api_key_env" in said
    assert "planted" not in said
    assert "plain words" not in said


def test_a_key_in_place_of_its_variables_name_is_not_shown_even_if_it_looks_like_none(make_params):
    with pytest.raises(ArenaError) as caught:
        parse_params(make_params(opponents={"x": hosted(api_key_env="my key-0123")}), "params.yaml")
    assert "opponents.x.api_key_env" in str(caught.value)
    assert "0123" not in str(caught.value)


def test_a_password_in_an_address_is_not_shown(make_params):
    with pytest.raises(ArenaError, match="must not contain a user") as caught:
        parse_params(make_params(opponents={"x": hosted(base_url="https://me:planted@host/v1")}), "here")
    assert "planted" not in str(caught.value)


def test_yaml_that_does_not_parse_is_quoted_without_it(tmp_path):
    (tmp_path / "params.yaml").write_text(f"a: [{OPENAI}: ]: b", encoding="utf-8")
    with pytest.raises(ArenaError, match="not YAML") as caught:
        load_params(tmp_path / "params.yaml")
    assert "planted" not in str(caught.value)


def test_the_command_line_shows_none_either(tmp_path, make_params):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(make_params()), encoding="utf-8")
    code = "from arena_learning.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "battle", OPENAI],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no round '***'" in done.stderr
    assert "planted" not in done.stdout + done.stderr
