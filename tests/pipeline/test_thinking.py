"""A flywheel in which everybody thinks: the target, an opponent on file, one behind an endpoint, and the judge."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arena_learning.engines.chat import Chat
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import PreferenceRow, Response, SftRow
from arena_learning.train import encode
from arena_learning.train.load import load_start
from pipeline.project import REPOSITORY, make_project, read_params, run, run_json, write_params
from sample import one_iteration
from tiny import CHATML, build_tiny_model

sys.path.append(str(Path(__file__).parents[1] / "openai"))

from endpoint import FakeEndpoint, Reply, Request, completion

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

TEMPLATE = CHATML.replace(
    "'<|im_start|>assistant\n' }}{% endif", "'<|im_start|>assistant\n<think>\n' }}{% endif"
)
THOUGHT, SAID = "Two and four.", "Mars is blue."
DRAFT = "<think>\nScore-A: 1\nScore-B: 10\nNo.\n</think>\n"


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that thinks whatever it is asked, closes its thought, and answers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = build_tiny_model(
        tmp_path_factory.mktemp("thinker") / "model",
        template=TEMPLATE,
        added={"<think>": False, "</think>": False},
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    pool = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    asked = ["What is it?", *(json.loads(line)["turns"][-1]["content"] for line in pool[::40])]
    ends = [f"{question}<|im_end|>\n<|im_start|>assistant\n<think>\n" for question in asked]
    whole = [tokenizer(f"{end}{THOUGHT}\n</think>\n\n{SAID}<|im_end|>")["input_ids"] for end in ends]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads wait for each other on a busy machine
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(500):
            ids = torch.tensor([whole[step % len(whole)]])
            labels = ids.clone()
            labels[:, : len(tokenizer(ends[step % len(whole)])["input_ids"])] = -100
            model(input_ids=ids, labels=labels).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    return folder


def reply(request: Request) -> Reply:
    """Judge (the longer answer wins, after a draft that says otherwise), or answer with a thought beside the answer."""
    asked = request.body["messages"][-1]["content"]
    shown = [re.search(rf"<response_{x}>(.*?)</response_{x}>", asked, re.DOTALL) for x in "ab"]
    if all(shown):
        a, b = (len(found[1].split()) for found in shown if found)
        scores = (9, 2) if a > b else (2, 9) if b > a else (5, 5)
        return Reply(
            body=completion(f"{DRAFT}Score-A: {scores[0]}\nScore-B: {scores[1]}\nExplanation: longer.")
        )
    whole: dict[str, Any] = completion("It is a long way to the sea and to the sky.", tokens=40)
    whole["choices"][0]["message"]["reasoning_content"] = "They ask. It is the sky."
    whole["usage"]["completion_tokens_details"] = {"reasoning_tokens": 25}
    return Reply(body=whole)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(reply) as served:
        yield served


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, thinker: Path, endpoint: FakeEndpoint) -> Path:
    root = tmp_path_factory.mktemp("thinking")
    make_project(root, thinker, rounds=one_iteration(), splits={"d1": 3, "d2": 3, "d3": 3}, test=4)
    params = read_params(root)
    params["sampling"]["max_tokens"] = 40
    params["opponents"]["talker"] = {"engine": "openai", "model": "t", "base_url": endpoint.base_url}
    params["judges"]["thinker"] = {
        "kind": "llm",
        "engine": "openai",
        "model": "j",
        "base_url": endpoint.base_url,
        "attempts": 1,
    }
    params["judge"]["name"] = "thinker"
    params["evaluate"]["judges"] = ["thinker", "rubric"]
    for name in ("sft-i1", "dpo-i1", "ppo-i1"):
        params["rounds"][name]["threshold"] = 0.0
    write_params(root, params)
    file = root / "data" / "opponents" / "expert.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["text"] = f"<think>\nWhat do they want?\n</think>\n\n{row['text']}"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run(root, "dvc", "repro", timeout=560)
    return root


def test_answers_are_answers_and_thoughts_stand_beside_them(project: Path) -> None:
    for name in ("sft-i1", "dpo-i1", "ppo-i1"):
        responses = read_rows(project / "data" / "rounds" / name / "responses.jsonl", Response)
        by_name: dict[str, list[Response]] = {}
        for response in responses:
            assert "think>" not in response.text
            by_name.setdefault(response.contestant, []).append(response)
        assert {r.thought for r in by_name["expert"]} == {"What do they want?"}
        assert {r.thought for r in by_name["talker"]} == {"They ask. It is the sky."}
        assert {r.thought_tokens for r in by_name["talker"]} == {25}
        assert {r.thought for r in by_name["plain"]} == {""}
    first = read_rows(project / "data" / "rounds" / "sft-i1" / "responses.jsonl", Response)
    own = [r for r in first if r.contestant == "base"]
    assert any(SAID in response.text for response in own)
    for response in own:
        assert response.thought.startswith(THOUGHT)
    assert all(0 < r.thought_tokens < r.completion_tokens for r in own)


def test_the_fast_engine_and_the_plain_one_split_alike(project: Path) -> None:
    from arena_learning.engines.transformers import Transformers
    from arena_learning.params.contestants import Sampling
    from arena_learning.schema.rows import Turn

    engine = Transformers(project / "models" / "base", device="cpu")
    (answer,) = engine.respond([[Turn(role="user", content="What is it?")]], Sampling(max_tokens=40))
    assert answer.thought.startswith(THOUGHT)
    assert SAID in answer.text
    assert "think>" not in answer.thought + answer.text


def test_verdicts_are_read_behind_the_judges_thought(project: Path) -> None:
    for line in (project / "data" / "rounds" / "sft-i1" / "games.jsonl").read_text().splitlines():
        game = json.loads(line)
        assert (game["score_first"], game["score_second"]) in {
            (9, 2),
            (2, 9),
            (5, 5),
        }  # never the draft's 1 and 10
        assert "think>" not in game["rationale"]
        assert "No." not in game["rationale"]


def test_rows_hold_answers_and_decode_to_them(project: Path) -> None:
    start = load_start(project / "models" / "base", False)
    encoder = encode.Encoder(start.form)
    sft = read_rows(project / "data" / "rounds" / "sft-i1" / "sft.jsonl", SftRow)
    encoded = encode.encode_sft(encoder, sft, 4096)
    assert encoded.tally.kept == len(sft) > 0
    for row, ids in zip(sft, encoded.rows, strict=True):
        learnt = [t for t, label in zip(ids["input_ids"], ids["labels"], strict=True) if label != -100]
        assert "think>" not in row.completion[0].content
        assert start.form.chat.read([*start.form.preamble_ids, *learnt])[:2] == (
            "",
            row.completion[0].content,
        )
    for name in ("dpo-i1", "ppo-i1"):
        pairs = read_rows(project / "data" / "rounds" / name / "preferences.jsonl", PreferenceRow)
        assert pairs
        ended = [pair.model_copy(update={"rejected_cut_off": False}) for pair in pairs]
        both = encode.encode_pairs(encoder, ended, 4096, cut_long=True)
        for pair, ids in zip(pairs, both.rows, strict=True):
            for turns, column in ((pair.chosen, "chosen_ids"), (pair.rejected, "rejected_ids")):
                read = start.form.chat.read([*start.form.preamble_ids, *ids[column]])
                assert read[:2] == ("", turns[0].content)
        for prompt in encode.encode_prompts(encoder, pairs, 4096).rows:
            assert start.form.chat.tokenizer.decode(prompt["input_ids"]).endswith("<think>\n\n</think>\n\n")


def test_the_rounds_models_go_on_with_their_bases_format(project: Path) -> None:
    for name in ("base", "sft-i1", "ppo-i1"):
        assert Chat(project / "models" / name).opens_thought


def test_thoughts_are_shown_folded(project: Path) -> None:
    ids = [
        json.loads(line)["id"]
        for line in (project / "data" / "prepared" / "test.jsonl").read_text().splitlines()
    ]
    text = run(project, "arena", "show", "battle", "arena", ids[0], "base", "expert")
    assert "thought before (4 tokens): What do they want?" in text
    shown = run_json(project, "arena", "show", "battle", "arena", ids[0], "base", "expert", "--json")
    assert shown["answers"]["base"]["thought"].startswith(THOUGHT)
    page = (project / "reports" / "index.html").read_text(encoding="utf-8")
    assert "The thought before it (4 tokens)" in page


def test_a_second_repro_asks_nothing(project: Path, endpoint: FakeEndpoint) -> None:
    before = len(endpoint.requests)
    assert run_json(project, "arena", "judge", "sft-i1", "--json")["judged"] == 0
    assert run_json(project, "arena", "battle", "sft-i1", "--json")["generated"] == 0
    assert len(endpoint.requests) == before
