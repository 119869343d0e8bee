"""The page without a browser: what it shows, what it saves, and whom it refuses."""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner
from review_project import NAMES, make_review_project

from arena_learning.cli.main import cli
from arena_learning.core import ArenaError
from arena_learning.review import ReviewServer, make_app, open_session
from arena_learning.schema import Review, read_rows

SECRET = "s3cret"
HERE = {"Host": "127.0.0.1:5001", "Origin": "http://127.0.0.1:5001", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def project(tmp_path):
    return make_review_project(tmp_path, 12)


@pytest.fixture
def page(project):
    """A client of the application; ``page.session`` is what it shows."""
    session = open_session("ann", *project, count=4)
    client = make_app(session, SECRET).test_client()
    client.session, client.path = session, session.path
    return client


def get(page, path="", **headers):
    return page.get(f"/{SECRET}/{path}", headers={**HERE, **headers}, buffered=True)


def post(page, key, headers=None, **fields):
    form = {"winner": "1", "replaces": "", **fields}
    return page.post(f"/{SECRET}/battle/{key}", data=form, headers={**HERE, **(headers or {})})


def saved(page):
    return read_rows(page.path, Review) if page.path.is_file() else []


def test_one_battle_after_the_other_up_to_the_end(page):
    said = ["1", "2", "both_bad", "skip"]
    for number, choice in enumerate(said, 1):
        where = get(page).headers["Location"]
        shown = page.get(where, headers=HERE).get_data(as_text=True)
        assert f'<h1 tabindex="-1">Battle {number} of 4</h1>' in shown
        answer = post(page, where.rpartition("/")[2], winner=choice, note=f" note {number}\r\n")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/{SECRET}/")
    assert get(page).headers["Location"] == f"/{SECRET}/done"
    assert "All 4 battles are judged" in get(page, "done").get_data(as_text=True)
    assert [(row.winner, row.note) for row in saved(page)] == [
        ("model_a", "note 1"),
        ("model_b", "note 2"),
        ("both_bad", "note 3"),
        (None, "note 4"),
    ]


def test_the_end_is_shown_at_the_end_alone(page):
    post(page, page.session.next().battle.key)
    early = get(page, "done")
    assert (early.status_code, early.headers["Location"]) == (302, f"/{SECRET}/")


def test_the_page_tells_neither_contestants_nor_judges_nor_the_reference(page):
    for shown in page.session._shown.values():
        text = get(page, f"battle/{shown.battle.key}").get_data(as_text=True)
        assert not [
            word for word in (*NAMES, "rubric", "reference", shown.battle.instruction.id) if word in text
        ]
        assert all(answer in text for answer in shown.answers)
        assert text.index(shown.answers[0]) < text.index(shown.answers[1])


def test_back_shows_the_verdict_so_far_and_another_one_replaces_it(page):
    post(page, page.session.next().battle.key)
    (held,) = saved(page)
    now = page.session.next().battle.key
    link = re.search(r'href="([^"]+)" data-key="u"', get(page, f"battle/{now}").get_data(as_text=True))
    text = page.get(link[1], headers=HERE).get_data(as_text=True)
    assert link[1].endswith(held.battle)
    assert "Your verdict so far: answer 1 is better." in text
    assert f'name="replaces" value="{held.id}"' in text
    assert post(page, held.battle, winner="tie", replaces=held.id).status_code == 303
    assert [row.winner for row in saved(page)] == ["model_a", "tie"]
    twice = post(page, held.battle, winner="2", replaces=held.id)  # the same form, sent again
    assert twice.status_code == 409
    assert "has got another verdict" in twice.get_data(as_text=True)
    assert len(saved(page)) == 2


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example:5001"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://localhost:5001"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_verdict_from_elsewhere_is_refused(page, headers, code):
    key = page.session.next().battle.key
    assert post(page, key, headers).status_code == code
    assert not saved(page)
    assert post(page, key).status_code == 303  # the same from the page itself is taken


def test_a_name_that_leads_here_by_dns_reads_nothing(page):
    for path in ("", "done", f"battle/{page.session.next().battle.key}", "static/style.css"):
        answer = get(page, path, Host="rebound.example:5001")
        assert answer.status_code == 400
        assert "quality" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/", "/wrong/", "/s3cre/done", "/static/style.css", "/s3cret/battle/none"])
def test_without_the_secret_there_is_nothing(page, path):
    answer = page.get(path, headers=HERE)
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"winner": "model_a"}, 400),
        ({"winner": "<script>"}, 400),
        ({"note": "x" * 4001}, 400),
        ({"note": "x" * 100_000}, 413),
        ({"replaces": "made-up"}, 409),
    ],
)
def test_a_form_that_the_page_does_not_make_is_refused(page, fields, code):
    answer = post(page, page.session.next().battle.key, **fields)
    assert answer.status_code == code
    assert not saved(page)


def test_every_answer_forbids_what_the_page_does_not_need(page):
    for path in ("", "done", f"battle/{page.session.next().battle.key}", "static/script.js"):
        headers = get(page, path).headers
        rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
        assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["form-action"] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


HOSTILE = (
    "<script>window.bad = 1</script><img src=x onerror=alert(1)>",
    "</textarea></pre></div></main><h1>Battle 9 of 9</h1>{{ 7 * 7 }}{% raw %}",
    "\x1b[31mred\x1b[0m \u202eevil\u202c \x00 \u2066x\u2069",
    "",
)


def test_what_a_model_wrote_is_never_markup(tmp_path):
    params, paths = make_review_project(tmp_path, 12, texts={0: HOSTILE})
    session = open_session("ann", params, paths, count=72)
    client = make_app(session, SECRET).test_client()
    shown = [one for one in session._shown.values() if one.battle.instruction.id == "t-0"]
    assert len(shown) == 6
    for one in shown:
        text = get(client, f"battle/{one.battle.key}").get_data(as_text=True)
        assert text.count("<script") == text.count("<h1") == text.count("</main>") == 1
        assert "<img" not in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
        for answer in one.answers:
            said = {
                HOSTILE[0]: "&lt;script&gt;window.bad = 1&lt;/script&gt;",
                HOSTILE[1]: "{{ 7 * 7 }}{% raw %}",
                HOSTILE[2]: r"\x1b[31mred\x1b[0m \u202eevil\u202c \x00 \u2066x\u2069",
                HOSTILE[3]: "(an empty answer)",
            }
            assert said[answer] in text
    post(client, shown[0].battle.key, note=HOSTILE[1])
    text = get(client, f"battle/{shown[0].battle.key}").get_data(as_text=True)
    assert text.count("</textarea>") == 1
    # The file holds what the model wrote, to the letter.
    assert read_rows(session.path, Review)[0].response_a == shown[0].answers[0]


def test_a_file_that_cannot_be_written_is_said_and_the_battle_stays(page):
    key = page.session.next().battle.key
    page.path.mkdir(parents=True)
    answer = post(page, key)
    assert answer.status_code == 500
    assert "The verdict is not saved" in answer.get_data(as_text=True)
    page.path.rmdir()
    assert page.session.next().battle.key == key
    assert post(page, key).status_code == 303


def test_the_server_listens_on_this_machine_alone_and_says_where(project):
    server = ReviewServer(open_session("ann", *project, count=4))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        port, secret = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{43})/", server.address).groups()
        with urllib.request.urlopen(server.address, timeout=30) as answer:
            assert b"Battle 1 of 4" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{secret[:-1]}/", timeout=30)
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", int(port)))  # all of 127.0.0.0/8 is this machine
        with pytest.raises(ArenaError, match="cannot be used"):
            ReviewServer(open_session("bob", *project, count=4), int(port))
    finally:
        server.stop()
        thread.join()


def test_the_command_refuses_what_it_cannot_do(project, monkeypatch):
    paths = project[1]
    monkeypatch.chdir(paths.root)
    run = CliRunner()
    for words, said in (
        ((), "--reviewer ann"),
        (("--reviewer", "../ann"), "is no name of a reviewer"),
        (("nothing", "--reviewer", "ann"), "no round 'nothing'"),
        (("--summary",), "there are no verdicts yet"),
    ):
        result = run.invoke(cli, ["review", *words])
        assert isinstance(result.exception, ArenaError), result.output
        assert said in str(result.exception)
    assert run.invoke(cli, ["review", "--json"]).exit_code == 2
    for words, named in (
        (("arena",), "ROUND"),
        (("--reviewer", "ann"), "--reviewer"),
        (("--count", "40"), "--count"),
    ):
        result = run.invoke(cli, ["review", "--summary", *words])
        assert result.exit_code == 2
        assert f"takes no {named}" in result.output


def test_the_summary_is_printed_as_tables_and_as_json(page, project, monkeypatch):
    monkeypatch.chdir(project[1].root)
    while page.session.next():
        post(page, page.session.next().battle.key)
    text = CliRunner().invoke(cli, ["review", "--summary"]).output
    assert re.search(r"^ann +4 +0 +0 +0 +0 +0$", text, re.M)
    assert re.search(r"^rubric-all v1 +ann +random +4 +\d+\.\d% \(", text, re.M)
    found = json.loads(CliRunner().invoke(cli, ["review", "--summary", "--json"]).output)
    assert [line["scored"] for line in found["judges"]] == [4, 4]
