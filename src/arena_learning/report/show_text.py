"""The values of `show` as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arena_learning.core import Table
from arena_learning.report.phrases import format_number, interval_text, percent, plural, rank, score
from arena_learning.report.terminal import Page

View = Mapping[str, Any]
_FOLDED = 160  # characters of a thought that are shown


def battle_text(view: View, page: Page) -> str:
    """Return an instruction's battles; with rationales if there is only one pair."""
    _conversation(view["instruction"], page)
    for name, answer in view["answers"].items():
        _said(name, answer, page)
    pairs = {(b["a"], b["b"]) for b in view["battles"]}
    for battle in view["battles"]:
        page.heading(f"{battle['a']} against {battle['b']}, judge {battle['judge']}: {_result(battle)}")
        for game in battle["games"]:
            page.line(f"{game['first']} shown first: {_game(game)}")
            if len(pairs) == 1 and game["rationale"]:
                page.quote(game["rationale"])
    if not pairs:
        page.heading("There is no battle on this instruction.")
    elif len(pairs) > 1:
        page.heading("To read the judge's rationales, name two of the contestants.")
    return str(page)


def round_text(view: View, page: Page) -> str:
    """Return what a round was trained on."""
    card = view["card"]
    played = f"{view['method']} on {view['split']}, target {view['target']}, K = {view['threshold']:g}"
    page.heading(f"{view['round']}: {played}")
    page.line(
        f"{plural(card['instructions'], 'instruction')} in, {plural(card['rows_new'], 'row')} out"
        + (f", {card['rows']} with those of earlier rounds" if card["rows_accumulated"] else "")
    )
    if how := card.get("selection"):
        wanted = f"{how['wanted'] or 'any number of'} rows wanted, seed {how['seed']}"
        page.line(f"chosen by strategy {how['strategy']}, {wanted}; answers: {how['answers']}")
    for title, counts in (
        ("left out", card["left_out"]),
        ("answers chosen from", card["chosen_from"]),
        ("rows by category", card["categories"]),
    ):
        page.line(f"{title}: {_counts(counts)}")
    page.line(
        f"mean gap {format_number(card['mean_gap'], 1)}, "
        f"mean words learnt {format_number(card['mean_words_learnt'], 0)}, "
        f"rejected {format_number(card['mean_words_rejected'], 0)}; "
        f"orders disagree in {plural(card['orders_disagree'], 'row')}"
    )
    if not view["categories"]:
        page.line("It has no battles.")
        return str(page)
    page.heading(f"The battles of {view['target']}, worst category first")
    page.table(_category_table(view["categories"]))
    for one in view["categories"]:
        if one["worst_loss"]:
            _worst(one["category"], one["worst_loss"], view["target"], page)
    return str(page)


def contestant_text(view: View, page: Page) -> str:
    """Return a contestant's results by each judge, the first judge's first."""
    name, said = view["contestant"], view["answers"]
    page.heading(f"{name} on the test set")
    page.line(
        f"{plural(said.get('answers', 0), 'answer')}, {format_number(said.get('mean_words'), 0)} words on average, "
        f"{format_number(said.get('cut_off'), 0)} cut off, repetition {format_number(said.get('repetition'), 3)}"
    )
    for judge, board in sorted(view["boards"].items(), key=lambda item: (item[0] != view["judge"], item[0])):
        r = board["rating"]
        page.heading(f"Judge {judge}: rating {r['rating']:.0f} ({interval_text(r)}), rank {rank(r)}")
        page.line(f"{plural(r['battles'], 'battle')}: {r['wins']} won, {r['ties']} tied, {r['losses']} lost")
        page.table(
            Table(("contestant", "win rate"), [(o, percent(rate)) for o, rate in board["win_rates"].items()])
        )
        page.lines.append("")
        columns = ["base", name] if name != "base" else ["base"]
        rows = [
            (c, *(format_number(scores.get(k), 2) for k in columns))
            for c, scores in board["categories"].items()
        ]
        page.table(Table(("category", *columns), rows))
    return str(page)


def answers_text(view: View, page: Page) -> str:
    """Return how the answers to one instruction changed."""
    _conversation(view["instruction"], page)
    for step in view["answers"]:
        _said(step["contestant"], step, page)
        for judge, mark in step["judges"].items():
            against = f", against base: {mark['against_base']}" if mark["against_base"] else ""
            page.line(f"judge {judge}: mean score {score(mark['mean_score'])}{against}")
    return str(page)


def efficiency_text(view: View, page: Page) -> str:
    """Return the time of a judged battle here, in the paper, and by human votes."""
    page.heading("Seconds for one judged battle, and battles a day")
    head = ("where", "answering", "judging", "total", "battles a day", "times votes")
    rows = [
        (
            label,
            *(_figure(view[key]["seconds_per_battle"][part]) for part in ("answering", "judging", "total")),
            _figure(view[key]["battles_per_day"]),
            _figure(view[key]["times_human_votes"]),
        )
        for key, label in (("measured", "here"), ("paper", "paper"))
    ]
    people = ("people's votes", "-", "-", "-", _figure(view["human_votes"]["battles_per_day"]), "1")
    page.table(Table(head, [*rows, people]))
    measured, paper = view["measured"], view["paper"]
    page.line(
        f"here: {plural(measured['battles'], 'scored battle')}, {measured['generated_answers']} of "
        f"{plural(measured['answers'], 'answer')} generated (the others were recorded), "
        f"{_figure(measured['seconds_per_generated_answer'])} s each; "
        f"paper: {paper['battles']:,} battles on {paper['gpus']} GPUs"
    )
    page.heading("By round")
    parts = ("battles", "generated_answers", "answering_seconds", "judging_seconds")
    rounds = [(name, *(_figure(one[part]) for part in parts)) for name, one in view["rounds"].items()]
    page.table(Table(("round", "battles", "generated", "answering s", "judging s"), rounds))
    return str(page)


def _figure(value: float | None) -> str:
    """Return a figure with three significant digits, large ones as whole numbers."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def _conversation(instruction: View, page: Page) -> None:
    page.heading(f"Instruction {instruction['id']} ({instruction['category']}, {instruction['difficulty']})")
    for turn in instruction["turns"]:
        page.line(f"{turn['role']}:")
        page.quote(turn["content"])


def _category_table(categories: Sequence[View]) -> Table:
    head = ("category", "battles", "won", "tie", "lost", "unscored", "mean margin", "rows")
    return Table(
        head,
        [
            (
                one["category"],
                *(str(one[key]) for key in ("battles", "won", "tie", "lost", "unscored")),
                format_number(one["mean_margin"], 2),
                str(one["rows"]),
            )
            for one in categories
        ],
    )


def _worst(category: str, loss: View, target: str, page: Page) -> None:
    instruction = loss["instruction"]
    page.heading(
        f"Worst loss in {category}: {instruction['id']}, {target} {score(loss['score_target'])}, "
        f"{loss['winner']} {score(loss['score_winner'])}"
    )
    page.quote(instruction["turns"][-1]["content"])
    page.line(f"{target} answered{_cut(loss['answer_target'])}:")
    page.quote(loss["answer_target"]["text"])
    page.line(f"{loss['winner']} answered{_cut(loss['answer_winner'])}:")
    page.quote(loss["answer_winner"]["text"])
    page.line(
        f"learnt: the answer of {loss['learnt_from']}"
        if loss["learnt_from"]
        else "nothing was learnt from it"
    )


def _result(battle: View) -> str:
    if battle["winner"] == "unscored":
        return f"unscored ({battle['unscored']})"
    scores = f"{score(battle['score_a'])} to {score(battle['score_b'])}"
    flip = ", the orders disagree" if battle["orders_agree"] is False else ""
    who = "a tie" if battle["winner"] == "tie" else f"{battle[battle['winner']]} wins"
    return f"{who}, {scores}{flip}"


def _game(game: View) -> str:
    if game["unscored"]:
        return f"unscored after {plural(game['attempts'], 'attempt')}: {game['unscored']}"
    return f"{game['first']} {score(game['score_first'])}, {game['second']} {score(game['score_second'])}"


def _said(name: str, answer: View, page: Page) -> None:
    """Add an answer under its heading, and the start of its thought in one line (``--json`` has all of it)."""
    page.heading(f"{name} answers{_cut(answer)}")
    if answer.get("thought"):
        begun = " ".join(answer["thought"].split())
        shown = begun if len(begun) <= _FOLDED else f"{begun[:_FOLDED].rstrip()} ..."
        page.line(f"thought before ({plural(answer['thought_tokens'], 'token')}): {shown}")
    page.quote(answer["text"])


def _cut(answer: View) -> str:
    if answer["finish_reason"] == "refused":
        return f" nothing: {answer['refusal']}"
    return " (cut off)" if answer["finish_reason"] == "length" else ""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
