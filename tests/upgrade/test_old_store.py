"""A store that an older version has filled answers the present one: nothing is asked, generated or judged again.

`make_store` made the stores. To add a version's: run it there, and commit the two files.
"""

from __future__ import annotations

import json
import lzma
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest
from scenes import SCENES, build_tiny, needs, opened

STORES = Path(__file__).parent / "stores"
RECORDED = {
    file.name.removesuffix(".json"): json.loads(file.read_text("utf-8")) for file in STORES.glob("*.json")
}


class Change(NamedTuple):
    """Why a scene of an older store no longer comes out as it did, and by how much.

    ``requested`` answers or games are asked for again; of the rows of each kind so many are read otherwise.
    """

    why: str
    requested: int = 0
    responses: int = 0
    games: int = 0
    battles: int = 0


# The one place for what may rightly change in the reading of an older store: by version, then scene. What is not
# listed here is found as it was, and costs nothing.
_DRAFTS = "a verdict is read behind the judge's last thought; drafts in thoughts that were cut off are none"
CHANGES: dict[str, dict[str, Change]] = {
    "0.1.0": {
        "ask an endpoint that thinks": Change("a thought stands beside the answer", responses=7),
        "a judge that thinks": Change(_DRAFTS, games=14, battles=7),
        "a judge that thinks and gives its reasons first": Change(_DRAFTS, games=14, battles=7),
        # The pipeline splits such answers before they are judged, so that their games are new ones there, too.
        "judge answers that hold thoughts": Change(
            "marks of thoughts in what a judge is shown are broken: it is asked another prompt", 42, 0, 42, 21
        ),
    }
}
UNCHANGED = Change("it is found as it was")


@pytest.fixture
def old_store(tmp_path):
    """Unpack the store of a version."""

    def unpack(version):
        path = tmp_path / "store.sqlite"
        path.write_bytes(lzma.decompress((STORES / f"{version}.sqlite.xz").read_bytes()))
        return path

    return unpack


def cases():
    for version, recorded in RECORDED.items():
        for scene in recorded["scenes"]:
            marks = [pytest.mark.torch] if "tiny" in scene else []
            yield pytest.param(version, scene, marks=marks, id=f"{version}: {scene}")


# Scores of one answer have no order: today each pair is one game, whose verdict is that of the first of two games.
ORDERLESS = ("judge by rubric", "judge by the rubric's content", "judge by the reference")


def in_one_order(expected):
    games = [game for game in expected["games"] if game["first"] < game["second"]]
    battles = [
        {**battle, "games": 1, "orders_agree": None, "rationales": battle["rationales"][:1]}
        for battle in expected["battles"]
    ]
    return {**expected, "games": games, "battles": battles}


def differing(expected, found):
    """Return rows that have changed, as pairs; a field that a later version adds is no change."""
    assert len(expected) == len(found)
    return [
        (old, new)
        for old, new in zip(expected, found, strict=True)
        if any(new.get(field, "missing") != value for field, value in old.items())
    ]


@pytest.mark.parametrize(("version", "scene"), list(cases()))
def test_an_upgrade_asks_nothing_again(version, scene, old_store, workshop):
    expected = RECORDED[version]["scenes"][scene]
    if "files of the tiny model" in expected["needs"]:
        build_tiny(workshop)
    here = needs(scene, workshop)
    if here != expected["needs"]:
        pytest.skip(f"its keys hold {expected['needs']}, and here are {here}")
    with opened(old_store(version), workshop) as stage:
        found = SCENES[scene](stage)
        requests = len(stage.server.requests)
    if scene in ORDERLESS:
        expected = in_one_order(expected)
    change = CHANGES.get(version, {}).get(scene, UNCHANGED)
    kinds = ("responses",) if "responses" in expected else ("games", "battles")
    read_otherwise = {kind: differing(expected[kind], found[kind]) for kind in kinds}
    counts = {kind: getattr(change, kind) for kind in kinds}
    assert (found["requested"], {kind: len(rows) for kind, rows in read_otherwise.items()}) == (
        change.requested,
        counts,
    ), read_otherwise
    if not change.requested:
        assert requests == 0
        assert found["tokens"] == expected["tokens"]


def test_what_may_change_names_scenes_that_there_are():
    for version, changes in CHANGES.items():
        assert changes.keys() <= RECORDED[version]["scenes"].keys()


def test_every_version_has_its_store_and_the_first_is_laid_out_as_it_was():
    assert {file.name.removesuffix(".sqlite.xz") for file in STORES.glob("*.xz")} == set(RECORDED)
    assert "WITHOUT ROWID" in RECORDED["0.1.0"]["layout"]


def test_a_row_that_is_missing_is_asked_for_and_counted(old_store, workshop):
    """Were a key another today, the tests above would see it."""
    path = old_store("0.1.0")
    db = sqlite3.connect(path)
    values = db.execute("SELECT key, value FROM memory WHERE kind = 'response'").fetchall()
    texts = {r["text"] for r in RECORDED["0.1.0"]["scenes"]["ask an endpoint, greedy"]["responses"]}
    (key, *_) = (key for key, value in values if json.loads(value)["text"] in texts)
    db.execute("DELETE FROM memory WHERE key = ?", (key,))
    db.commit()
    db.close()
    with opened(path, workshop) as stage:
        found = SCENES["ask an endpoint, greedy"](stage)
        assert (found["requested"], len(stage.server.requests)) == (1, 1)


def test_the_first_store_holds_thoughts_that_were_read_as_answers_and_as_verdicts():
    """Whoever reads them otherwise some day has them here."""
    scenes = RECORDED["0.1.0"]["scenes"]
    texts = [row["text"] for row in scenes["ask an endpoint that thinks"]["responses"]]
    verdicts = [row["rationale"] for row in scenes["a judge that thinks"]["games"]]
    for said in (texts, verdicts):
        assert {"<think>" in text for text in said} == {True}
        assert {"</think>" in text for text in said} == {True, False}
