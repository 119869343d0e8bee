from .ablation_page import ablation_tables, make_ablation_page
from .draw_style import BLUE, GREY, ORANGE, STYLE, new_figure
from .figures import make_figures
from .gate_page import make_gate_page
from .html import make_report
from .ledger import Ledger, LedgerRow, ledger_rows, ledger_view, read_ledger, read_ledger_rows
from .ledger_lines import ledger_text
from .monitors import monitors_markdown, monitors_text
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
    "Ledger",
    "LedgerRow",
    "Page",
    "ablation_tables",
    "answers_text",
    "battle_text",
    "contestant_text",
    "efficiency_text",
    "leaderboard_markdown",
    "leaderboard_text",
    "ledger_rows",
    "ledger_text",
    "ledger_view",
    "make_ablation_page",
    "make_figures",
    "make_gate_page",
    "make_report",
    "monitors_markdown",
    "monitors_text",
    "new_figure",
    "read_battle_log",
    "read_ledger",
    "read_ledger_rows",
    "round_text",
    "show_answers",
    "show_battle",
    "show_contestant",
    "show_round",
]
