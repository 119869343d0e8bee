"""The review page as a Flask application: HTML forms that work without a script, and a small script for keys.

The address holds a secret, so that no other web page and no other user of the machine can read battles or post
verdicts. The host of a request must be this machine (a name that was pointed here by DNS is refused), a form must come
from the page itself, and a Content-Security-Policy forbids everything but the page's own style, script and form.
"""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, abort, redirect, render_template, request, url_for
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from arena_learning.core import ArenaError, sanitized
from arena_learning.review.session import ReviewSession, ShownBattle, VerdictConflictError
from arena_learning.schema import Review, ReviewWinner

HOSTS = ("127.0.0.1", "localhost")
LONGEST_NOTE = 4000
_LARGEST_FORM = 64 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not `no-referrer`: with it the browser sends the form's origin as "null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
# What a button of the form sends, and what it means.
CHOICES: dict[str, ReviewWinner | None] = {
    "1": "model_a",
    "2": "model_b",
    "tie": "tie",
    "both_bad": "both_bad",
    "skip": None,
}
_SAID: dict[ReviewWinner | None, str] = {
    "model_a": "answer 1 is better",
    "model_b": "answer 2 is better",
    "tie": "a tie",
    "both_bad": "both are bad",
    None: "skipped",
}


def make_app(session: ReviewSession, secret: str) -> Flask:
    """Return the application, whose addresses all begin with the secret.

    Args:
        session: what is shown, and where verdicts go.
        secret: text that cannot be guessed, for example of `secrets.token_urlsafe`.
    """
    app = Flask(__name__, static_folder=None, template_folder="page")
    app.config["TRUSTED_HOSTS"] = list(HOSTS)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_FORM
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["shown"] = sanitized
    app.after_request(_guarded)
    app.register_error_handler(HTTPException, _failed)
    app.register_blueprint(_pages(session), url_prefix=f"/{secret}")
    return app


def _pages(session: ReviewSession) -> Blueprint:
    pages = Blueprint("review", __name__, static_folder="page/static", static_url_path="/static")

    @pages.get("/")
    def start() -> AnyResponse:
        shown = session.next()
        return redirect(url_for(".battle", key=shown.battle.key) if shown else url_for(".done"))

    @pages.get("/battle/<key>")
    def battle(key: str) -> str:
        shown = session.shown(key) or abort(HTTPStatus.NOT_FOUND)
        return render_template("battle.html", **_progress(session), **_view(session, shown))

    @pages.post("/battle/<key>")
    def verdict(key: str) -> AnyResponse | tuple[str, int]:
        _check_origin()
        choice = request.form.get("winner", "")
        note = request.form.get("note", "").replace("\r\n", "\n").strip()
        if not session.shown(key):
            abort(HTTPStatus.NOT_FOUND)
        if choice not in CHOICES or len(note) > LONGEST_NOTE:
            abort(HTTPStatus.BAD_REQUEST)
        try:
            session.record(key, CHOICES[choice], note, request.form.get("replaces", ""))
        except VerdictConflictError:
            return _problem(
                "This battle has got another verdict since you opened it, perhaps in another tab."
            ), 409
        except ArenaError as error:
            return _problem(f"The verdict is not saved. {error}"), 500
        return redirect(url_for(".start"), HTTPStatus.SEE_OTHER)

    @pages.get("/done")
    def done() -> str | AnyResponse:
        if session.next():
            return redirect(url_for(".start"))
        said = Counter(row.winner for row in session.done.values())
        counts = [(text, said[winner]) for winner, text in _SAID.items()]
        return render_template("done.html", counts=counts, back=session.before(None), **_progress(session))

    def _problem(text: str) -> str:
        return render_template("problem.html", text=text, **_progress(session))

    return pages


def _progress(session: ReviewSession) -> dict[str, Any]:
    rows = session.done
    last = next(reversed(rows.values()), None)
    return {
        "reviewer": session.reviewer,
        "total": session.total,
        "judged": len(rows),
        "last": f"Saved: {_SAID[last.winner]}." if last else "",
    }


def _view(session: ReviewSession, shown: ShownBattle) -> dict[str, Any]:
    """Return what the page shows of a battle: nothing that tells the contestants or the judges' verdicts."""
    rows, key = session.done, shown.battle.key
    held: Review | None = rows.get(key)
    asked = shown.battle.instruction
    return {
        "key": key,
        "number": list(rows).index(key) + 1 if held else len(rows) + 1,
        "turns": asked.turns,
        "language": asked.language,
        "answers": shown.answers,
        "held": held,
        "chosen": next(choice for choice, winner in CHOICES.items() if winner == held.winner) if held else "",
        "said": _SAID[held.winner] if held else "",
        "back": session.before(key),
        "longest_note": LONGEST_NOTE,
    }


def _check_origin() -> None:
    """Refuse a form that another page sent; a browser says where it comes from."""
    origin = request.headers.get("Origin", request.host_url.rstrip("/"))
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if origin != request.host_url.rstrip("/") or site != "same-origin":
        abort(HTTPStatus.FORBIDDEN)


def _guarded(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _failed(error: HTTPException) -> tuple[str, int, dict[str, str]]:
    """Answer an error in plain text, so that nothing of the request is ever markup."""
    code = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    text = f"{HTTPStatus(code).phrase}. Open the address that `arena review` printed.\n"
    return text, code, {"Content-Type": "text/plain; charset=utf-8"}
