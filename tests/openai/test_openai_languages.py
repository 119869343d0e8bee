"""A whole round and its leaderboard in eight scripts, with a fixed history: real engines, a judge behind HTTP."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from endpoint import Reply, completion

from arena_learning.arena.battle import answer_test, battle_round
from arena_learning.core.paths import Paths
from arena_learning.dataset.stage import make_dataset
from arena_learning.engines.build import open_engine
from arena_learning.judge.stage import judge_round
from arena_learning.leaderboard.evaluate import evaluate_test
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.params import parse_params
from arena_learning.report.html import make_report
from arena_learning.report.tables import leaderboard_text
from arena_learning.schema.row_files import read_rows, write_rows
from arena_learning.schema.rows import Battle, Game, Response, SftRow
from arena_learning.testing.languages import FOREIGN
from sample import one_iteration
from tiny import build_tiny_model

pytestmark = pytest.mark.torch

INSTRUCTIONS = {f"f{n}": (f, f.instruction(f"f{n}")) for n, f in enumerate(FOREIGN.values())}
BRIEF, POET = FOREIGN["German"].system, FOREIGN["Chinese"].system


def respond(request):
    """Be the contestant ``brief``, who gives the poorer answers, and the judge, who knows the better ones."""
    messages = request.body["messages"]
    if request.body["model"] == "brief":
        text = next(f.poor for f in FOREIGN.values() if f.turns[-1] == messages[-1]["content"])
    else:
        prompt = messages[-1]["content"]
        foreign = next(f for f in FOREIGN.values() if f.turns[-1] in prompt and f.turns[0] in prompt)
        scores = [9 if foreign.good in part else 2 for part in answers_in(prompt)]
        text = f"{foreign.turns[1]} → {foreign.good}\nScore-A：{scores[0]}\nScore-B：{scores[1]}"
    return Reply(body=json.dumps(completion(text), ensure_ascii=False))


def answers_in(prompt):
    return [re.split(rf"</?response_{side}>", prompt)[1] for side in "ab"]


class Text(HTMLParser):
    """The text of a page."""

    def __init__(self, page):
        super().__init__()
        self.parts = []
        self.feed(page)

    def handle_data(self, data):
        self.parts.append(data)


@pytest.fixture(scope="module")
def played(tmp_path_factory, make_params):
    """A project whose round and arena have been played: its parameters, paths and the endpoint's requests."""
    from endpoint import FakeEndpoint

    root = tmp_path_factory.mktemp("project")
    build_tiny_model(root / "models" / "base")
    shutil.copytree(root / "models" / "base", root / "models" / "sft-i1")
    lines = [json.dumps({"id": i, "text": f.good}, ensure_ascii=False) for i, (f, _) in INSTRUCTIONS.items()]
    (root / "expert.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with FakeEndpoint(respond) as server:
        there = {"engine": "openai", "base_url": server.base_url}
        raw = make_params(
            weights={"source": str(root / "models" / "base")},
            serving={"engine": "transformers", "dtype": "fp32", "batch_size": 4, "device": "cpu"},
            sampling={"max_tokens": 6},
            opponents={
                "expert": {"engine": "recorded", "model": "expert.jsonl"},
                "brief": {**there, "model": "brief", "system": BRIEF},
                "poet": {"engine": "transformers", "model": "models/base", "system": POET},
            },
            judges={"big": {"kind": "llm", **there, "model": "judge", "template": "multi-turn"}},
            judge={"name": "big"},
            evaluate={"judges": ["big"], "bootstrap": 50},
            rounds={"sft-i1": one_iteration()["sft-i1"]},
        )
        params, paths = parse_params(raw, "here"), Paths(root)
        for split in ("d1", "test"):
            write_rows(paths.split(split), [instruction for _, instruction in INSTRUCTIONS.values()])
        write_rows(paths.sft("none"), [])
        write_rows(paths.preferences("none"), [])
        battle_round("sft-i1", params, paths)
        judge_round("sft-i1", params, paths)
        make_dataset("sft-i1", params, paths)
        for contestant in params.contestants:
            answer_test(contestant, params, paths)
        evaluate_test(params, paths)
        yield params, paths, server.requests


def test_every_contestant_is_asked_the_same_history_under_its_own_system_prompt(played):
    params, paths, requests = played
    sent = [[m["content"] for m in r.body["messages"]] for r in requests if r.body["model"] == "brief"]
    assert sorted(sent) == sorted(
        [BRIEF, *f.turns] for f, _ in INSTRUCTIONS.values()
    )  # the arena's are remembered
    for name, system in (("base", None), ("poet", POET)):
        engine = open_engine(name, params, paths)
        for foreign, instruction in INSTRUCTIONS.values():
            said = re.findall(
                r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", engine.chat.render(instruction.turns), re.S
            )
            assert [content for role, content in said if role != "system"] == list(foreign.turns)
            # Without a prompt of its own the template puts its default.
            assert [c for role, c in said if role == "system"] == [system or "You are a helpful AI assistant"]
        engine.close()


def test_the_judge_sees_the_whole_history_and_both_answers_in_both_orders(played):
    _, paths, requests = played
    texts = {(r.instruction_id, r.contestant): r.text for r in read_rows(paths.responses("sft-i1"), Response)}
    prompts = [r.body["messages"][-1]["content"] for r in requests if r.body["model"] == "judge"]
    for name, (foreign, _) in INSTRUCTIONS.items():
        history = "\n".join(
            f"[{role}, turn {n} of 3]\n{content}"
            for n, (role, content) in enumerate(
                zip(("user", "assistant", "user"), foreign.turns, strict=True), 1
            )
        )
        shown = [[part.strip("\n") for part in answers_in(p)] for p in prompts if history in p]
        pair = [texts[name, "expert"], texts[name, "brief"]]
        assert pair == [foreign.good, foreign.poor]
        assert pair in shown
        assert pair[::-1] in shown


def test_games_battles_and_training_rows_hold_the_texts_as_they_are(played):
    _, paths, _ = played
    games = [g for g in read_rows(paths.games("sft-i1"), Game) if "expert" in (g.first, g.second)]
    assert {(g.score_first, g.score_second) for g in games} == {(9, 2), (2, 9)}
    assert {g.rationale.split("\n")[0] for g in games} == {
        f"{f.turns[1]} → {f.good}" for f, _ in INSTRUCTIONS.values()
    }
    battles = [b for b in read_rows(paths.battles("sft-i1"), Battle) if (b.a, b.b) == ("base", "expert")]
    assert [(b.winner, b.gap, b.orders_agree) for b in battles] == [("b", 7, True)] * len(INSTRUCTIONS)
    rows = {r.provenance.instruction_id: r for r in read_rows(paths.sft("sft-i1"), SftRow)}
    for name, (foreign, instruction) in INSTRUCTIONS.items():
        assert rows[name].prompt == instruction.turns
        assert rows[name].completion[0].content == foreign.good
        assert json.dumps(foreign.good, ensure_ascii=False) in paths.sft("sft-i1").read_text(encoding="utf-8")


def test_the_leaderboard_and_its_page_show_them(played):
    params, paths, _ = played
    table = make_leaderboard(params, paths)
    assert table["ratings"][0]["model"] == "expert"
    assert table["boards"]["big"]["unscored"] == 0
    assert "expert" in leaderboard_text(table)
    # Characters are words where a script writes no spaces: by spaces the expert's mean would be below six.
    assert table["answers"]["expert"]["mean_words"] > 8
    text = "".join(Text(make_report(params, paths).read_text(encoding="utf-8")).parts)
    shown = [f for f, _ in INSTRUCTIONS.values() if f.turns[-1] in text]
    assert len(shown) >= 3  # the page shows a sample of the battles
    for foreign in shown:
        assert foreign.turns[0] in text
        assert foreign.good in text or foreign.poor in text
