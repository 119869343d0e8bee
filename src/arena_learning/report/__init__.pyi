from .draw_style import BLUE, GREY, ORANGE, STYLE, new_figure
from .figures import make_figures
from .gate_page import make_gate_page
from .html import make_report
from .monitors import monitors_markdown, monitors_text
from .sanitize import safe_json, sanitized
from .show import show_answers, show_battle, show_contestant, show_round
from .show_text import answers_text, battle_text, contestant_text, efficiency_text, round_text
from .tables import leaderboard_markdown, leaderboard_text
from .terminal import Page
from .views import ARENA, BattleLog, BattleView, read_battle_log

__all__ = [
    "ARENA",
    "BLUE",
    "GREY",
    "ORANGE",
    "STYLE",
    "BattleLog",
    "BattleView",
    "Page",
    "answers_text",
    "battle_text",
    "contestant_text",
    "efficiency_text",
    "leaderboard_markdown",
    "leaderboard_text",
    "make_figures",
    "make_gate_page",
    "make_report",
    "monitors_markdown",
    "monitors_text",
    "new_figure",
    "read_battle_log",
    "round_text",
    "safe_json",
    "sanitized",
    "show_answers",
    "show_battle",
    "show_contestant",
    "show_round",
]
