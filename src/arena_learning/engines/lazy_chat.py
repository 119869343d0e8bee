"""A chat whose tokenizer is loaded only when a conversation is converted to tokens.

What the store's keys need of it (`ChatIdentity`) is saved in the folder of exports, under a digest of all that it is
computed from: the model's files, the settings, this project's code and the versions of the libraries. So a run whose
answers are all stored imports neither transformers nor torch.
"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

from arena_learning.core import SplitAnswer, canonical, read_json, write_json
from arena_learning.engines.answer_reader import split_said
from arena_learning.engines.base import Conversation
from arena_learning.engines.chat import Chat, with_system
from arena_learning.engines.chat_identity import ChatIdentity
from arena_learning.engines.tokenizer import AS_IT_COMES, ChatSettings
from arena_learning.engines.weights import check_folder, file_digest

# The code that an identity is computed by; a change of it makes saved identities out of date.
_CODE = (
    "answer_reader.py",
    "chat.py",
    "chat_identity.py",
    "template.py",
    "tokenizer.py",
    "../core/thoughts.py",
)
_LIBRARIES = ("transformers", "tokenizers", "jinja2")


class LazyChat:
    """A `Chat` that is loaded when it is first needed.

    Args:
        folder: the model's folder.
        saved: folder in which identities are saved; None: the chat is always loaded.
        system: system prompt for conversations that have none.
        trust_remote_code: run code that comes with the folder. The identity is then not saved: such code may load more
            code from elsewhere.
        settings: how the template is used; overrides the settings in the folder.

    Raises:
        ArenaError: there is no folder with safetensors.
    """

    def __init__(
        self,
        folder: Path,
        saved: Path | None,
        system: str = "",
        trust_remote_code: bool = False,
        settings: ChatSettings = AS_IT_COMES,
    ) -> None:
        check_folder(folder)
        self._folder, self._system, self._settings = folder, system, settings
        self._trust = trust_remote_code
        self._saved = None if trust_remote_code else saved

    @cached_property
    def chat(self) -> Chat:
        """The chat, with its tokenizer.

        Raises:
            ArenaError: there is no tokenizer or chat template.
        """
        return Chat(self._folder, self._system, self._trust, self._settings)

    @cached_property
    def identity(self) -> ChatIdentity:
        """The chat's identity: the saved one, or that of the chat, which is then saved.

        Raises:
            ArenaError: like `chat`.
        """
        if self._saved is None:
            return self.chat.identity
        path = self._saved / f"chat-{self._key()}.json"
        if path.is_file():
            return ChatIdentity.from_json(read_json(path))
        write_json(path, self.chat.identity._asdict())
        return self.chat.identity

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a changed prompt; see `base.Versioned`."""
        return self.identity.variant(with_system(conversation, self._system))

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was stored with its thought; see `base.Versioned`."""
        known = self.identity
        if known.opens_thought is None:
            return self.chat.said(text)
        return split_said(text, opened=known.opens_thought, marks=known.marks, harmony=known.harmony)

    def _key(self) -> str:
        """Return a digest of everything that the identity is computed from."""
        own = (path for path in self._folder.iterdir() if path.is_file() and path.suffix != ".safetensors")
        files = sorted({*own, *self._folder.rglob("*.jinja")})
        parts = [
            _code_digest(),
            [[name, metadata.version(name)] for name in _LIBRARIES],
            [[str(path.relative_to(self._folder)), file_digest(path)] for path in files],
            [self._settings.template, dict(self._settings.kwargs), self._settings.date],
        ]
        return hashlib.sha256(canonical(parts).encode()).hexdigest()[:24]


@cache
def _code_digest() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in _CODE)).hexdigest()
