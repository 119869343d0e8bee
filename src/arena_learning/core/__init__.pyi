from .append import append_json, remove_torn_line
from .atomic import atomic_write
from .deadline import STOP_AT, check_deadline, deadline_error, has_deadline, past_deadline, start_deadline
from .errors import ArenaError, first_line, missing_file, suggest, system_error
from .folders import copy_into_place, fresh_beside, move_into_place
from .json_files import canonical, new_text_file, read_json, write_json, write_text
from .makers import how_to_make
from .messages import logger, set_up_log
from .paths import Paths, check_location, find_project
from .progress import Progress, without_progress_bars
from .redact import redacted, secrets_in
from .sanitize import clip, safe_json, sanitized
from .stage_lock import end_with_process, hold_stage_lock, is_locked, refuse_while_running
from .stage_seconds import PLAN, StageRun, left_text, now_text, read_seconds, read_stage_runs, timed_stage
from .tables import Table, number_text, table_markdown, table_text
from .text import TEXT_VERSION, sentences, with_single_spaces, word_pattern, words
from .text_files import (
    SEPARATOR_NAMES,
    UNREADABLE,
    Dialect,
    csv_dialect,
    encoding_error,
    encoding_of,
    numbered_lines,
    open_text,
    read_whole_text,
)
from .thoughts import (
    CHANNEL,
    END_OF_MESSAGE,
    FINAL,
    MARKS,
    MESSAGE,
    Marks,
    SplitAnswer,
    bare_channel,
    split_text,
    unwrap,
)
from .yaml_files import read_yaml

__all__ = [
    "CHANNEL",
    "END_OF_MESSAGE",
    "FINAL",
    "MARKS",
    "MESSAGE",
    "PLAN",
    "SEPARATOR_NAMES",
    "STOP_AT",
    "TEXT_VERSION",
    "UNREADABLE",
    "ArenaError",
    "Dialect",
    "Marks",
    "Paths",
    "Progress",
    "SplitAnswer",
    "StageRun",
    "Table",
    "append_json",
    "atomic_write",
    "bare_channel",
    "canonical",
    "check_deadline",
    "check_location",
    "clip",
    "copy_into_place",
    "csv_dialect",
    "deadline_error",
    "encoding_error",
    "encoding_of",
    "end_with_process",
    "find_project",
    "first_line",
    "fresh_beside",
    "has_deadline",
    "hold_stage_lock",
    "how_to_make",
    "is_locked",
    "left_text",
    "logger",
    "missing_file",
    "move_into_place",
    "new_text_file",
    "now_text",
    "number_text",
    "numbered_lines",
    "open_text",
    "past_deadline",
    "read_json",
    "read_seconds",
    "read_stage_runs",
    "read_whole_text",
    "read_yaml",
    "redacted",
    "refuse_while_running",
    "remove_torn_line",
    "safe_json",
    "sanitized",
    "secrets_in",
    "sentences",
    "set_up_log",
    "split_text",
    "start_deadline",
    "suggest",
    "system_error",
    "table_markdown",
    "table_text",
    "timed_stage",
    "unwrap",
    "with_single_spaces",
    "without_progress_bars",
    "word_pattern",
    "words",
    "write_json",
    "write_text",
]
