"""A chat template taken apart into what stands around each turn, and written as Ollama's Go template.

The parts are found by rendering probes and are then verified: put together again, they must give what the template
gives for further conversations. A template whose turns do not all end with the same token is not taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from arena_learning.core import ArenaError
from arena_learning.engines import Chat
from arena_learning.schema import Turn

# Words that no template contains, and that no template changes.
SYSTEM, ASKED, ANSWERED, AGAIN = "Zephyrs blow", "Quinces ripen", "Jackdaws call", "Walnuts fall"
_HINT = "use `--to gguf`, and write the Modelfile's TEMPLATE by hand (Ollama's documentation has templates by family)"


class Around(NamedTuple):
    """The texts before and after a turn's content."""

    before: str
    after: str


class TurnTemplate(NamedTuple):
    """A chat template as the texts around its turns.

    Attributes:
        start: the very beginning; Ollama adds it itself if it is the token that the tokenizer adds.
        default: what stands in place of a system turn if the conversation has none.
        system: around a system turn; None if the template takes none.
        user: around the user's turns.
        assistant: around the answers.
        opening: the beginning of the answer to come.
    """

    start: str
    default: str
    system: Around | None
    user: Around
    assistant: Around
    opening: str

    def render(self, turns: Sequence[Turn]) -> str:
        """Return the prompt for a conversation."""
        around = {"user": self.user, "assistant": self.assistant, "system": self.system}
        text = self.start + ("" if turns[0].role == "system" else self.default)
        for turn in turns:
            own = around[turn.role]
            text += f"{own.before}{turn.content}{own.after}" if own else ""
        return text + self.opening

    def to_go(self, *, with_start: bool) -> str:
        """Return the template for Ollama, in the syntax of Go's text/template.

        Args:
            with_start: write the start too, because the tokenizer does not add it.

        Raises:
            ArenaError: a text contains Go's own marks, or the quotes that end the template in a Modelfile.
        """
        start = self.start if with_start else ""
        default = (
            f'{{{{ if ne (index .Messages 0).Role "system" }}}}{self.default}{{{{ end }}}}'
            if self.default
            else ""
        )
        kinds = {"system": self.system, "user": self.user, "assistant": self.assistant}
        texts = [start, self.default, self.opening, *(text for own in kinds.values() if own for text in own)]
        for text in texts:
            if "{{" in text or "}}" in text or '"""' in text:
                raise ArenaError(f"the chat template writes {text!r}, which a Go template cannot", hint=_HINT)
        branches = [
            f'if eq .Role "{role}" }}}}{own.before}{{{{ .Content }}}}{own.after}'
            for role, own in kinds.items()
            if own
        ]
        turns = "{{ else ".join(branches)
        return (
            f"{start}{default}{{{{ range .Messages }}}}{{{{ {turns}{{{{ end }}}}{{{{ end }}}}{self.opening}"
        )


def turn_template(chat: Chat) -> TurnTemplate:
    """Take a model's chat template apart.

    Raises:
        ArenaError: the parts do not give what the template gives, so that it cannot be written in another language.
    """
    where = str(chat.folder)
    if chat.dated:
        raise ArenaError(
            "the chat template prints a date, which Ollama's cannot fix", where=where, hint=_HINT
        )
    found = _taken_apart(chat)
    if found is None:
        said = "the chat template's turns do not all end with the same token"
        raise ArenaError(said, where=where, hint=_HINT)
    for turns in _conversations(with_system=found.system is not None):
        if found.render(turns) != chat.render(turns):
            roles = ", ".join(turn.role for turn in turns)
            said = f"the chat template does more than to put texts around turns: it writes another prompt for {roles}"
            raise ArenaError(said, where=where, hint=_HINT)
    return found


def _taken_apart(chat: Chat) -> TurnTemplate | None:
    end = chat.tokenizer.convert_ids_to_tokens(chat.end_of_turn) if chat.end_of_turn is not None else ""
    user, answer, again = (
        Turn(role="user", content=ASKED),
        Turn(role="assistant", content=ANSWERED),
        Turn(role="user", content=AGAIN),
    )
    head, _, tail = chat.render([user]).partition(ASKED)
    _, _, after = chat.render([user, answer, again]).partition(ASKED)
    between, _, rest = after.partition(ANSWERED)
    user_end, opening = _split(tail, end)
    also_user_end, answer_start = _split(between, end)
    answer_end, user_start = _split(rest.partition(AGAIN)[0], end)
    if not end or None in (user_end, also_user_end, answer_end) or user_end != also_user_end:
        return None
    if not head.endswith(user_start):
        return None
    bos = chat.tokenizer.bos_token or ""
    # Where turns begin with that token themselves (ChatML of SmolLM2), it is no start.
    start = bos if bos and head.startswith(bos) and not user_start.startswith(bos) else ""
    system = None
    if chat.takes_system:
        said, _, following = chat.render([Turn(role="system", content=SYSTEM), user]).partition(SYSTEM)
        system_end, also_user_start = _split(following.partition(ASKED)[0], end)
        if system_end is None or also_user_start != user_start:
            return None
        if not said.startswith(start):
            return None
        system = Around(said[len(start) :], system_end)
    default = head[len(start) : len(head) - len(user_start)]
    return TurnTemplate(
        start,
        default,
        system,
        Around(user_start, user_end or ""),
        Around(answer_start, answer_end or ""),
        opening,
    )


def _split(text: str, end: str) -> tuple[str | None, str]:
    """Split the text between two contents behind the token that ends a turn and the white space after it."""
    if not end or not text.startswith(end):
        return None, text
    rest = text[len(end) :]
    start = rest.lstrip()
    return end + rest[: len(rest) - len(start)], start


def _conversations(*, with_system: bool) -> list[list[Turn]]:
    """Return conversations that the parts were not taken from."""
    told = [
        Turn(role="user", content="How many rivers? One, two."),
        Turn(role="assistant", content="Two: the *Danube*\n\n1. and the Rhine."),
        Turn(role="user", content="And 3 of them?"),
        Turn(role="assistant", content="Three."),
        Turn(role="user", content="Why"),
    ]
    plain = [told[:1], told[:3], told]
    asked = Turn(role="system", content="Be brief.\nSay little.")
    return [*plain, *([asked, *turns] for turns in plain)] if with_system else plain
