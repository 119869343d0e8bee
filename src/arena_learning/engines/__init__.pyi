from .base import (
    MAX_REFUSED,
    Completion,
    Conversation,
    DrawsSamples,
    Engine,
    Refused,
    ReportsLogprobs,
    Token,
    Versioned,
    is_exact,
    older_fingerprints,
    stream_answers,
    too_many_refused,
)
from .base_model import chat_settings, make_weights
from .build import open_engine, open_folder, open_opponent
from .chat import Chat
from .chat_check import check_chat, describe
from .chat_format import ChatFormat
from .likelihood import AnswerLoss, answer_losses
from .ray_cluster import join_ray, require_ray
from .tokenizer import (
    NAMED_TEMPLATES,
    SETTINGS_FILE,
    ChatSettings,
    break_control_tokens,
    control_tokens,
    load_tokenizer,
)
from .weights import FETCHED, check_folder, hub_folder, resolve, weights_digest

__all__ = [
    "FETCHED",
    "MAX_REFUSED",
    "NAMED_TEMPLATES",
    "SETTINGS_FILE",
    "AnswerLoss",
    "Chat",
    "ChatFormat",
    "ChatSettings",
    "Completion",
    "Conversation",
    "DrawsSamples",
    "Engine",
    "Refused",
    "ReportsLogprobs",
    "Token",
    "Versioned",
    "answer_losses",
    "break_control_tokens",
    "chat_settings",
    "check_chat",
    "check_folder",
    "control_tokens",
    "describe",
    "hub_folder",
    "is_exact",
    "join_ray",
    "load_tokenizer",
    "make_weights",
    "older_fingerprints",
    "open_engine",
    "open_folder",
    "open_opponent",
    "require_ray",
    "resolve",
    "stream_answers",
    "too_many_refused",
    "weights_digest",
]
