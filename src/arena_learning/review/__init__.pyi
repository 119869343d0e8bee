from .app import make_app
from .battles import ReviewBattle, read_review_battles
from .sample import draw_sample
from .serve import ReviewServer, serve_review
from .session import ReviewSession, VerdictConflictError, check_reviewer, open_session, read_reviews
from .summary import review_summary, summary_text

__all__ = [
    "ReviewBattle",
    "ReviewServer",
    "ReviewSession",
    "VerdictConflictError",
    "check_reviewer",
    "draw_sample",
    "make_app",
    "open_session",
    "read_review_battles",
    "read_reviews",
    "review_summary",
    "serve_review",
    "summary_text",
]
