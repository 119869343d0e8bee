"""Each family's chat format is right in all points, or refused with the parameter that makes it right."""

from __future__ import annotations

import re

import pytest
import yaml
from channels import CHANNELS
from chatml import CHATML
from family import THINK, Family, chat_of
from others import OTHERS
from pieces import PIECES
from turns import TURNS

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Refused
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_check import LAID_OUT, check_chat
from arena_learning.engines.chat_format import PLAIN, SWITCHES, ChatFormat
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.schema.rows import Turn
from arena_learning.train.encode import Encoder

pytestmark = pytest.mark.torch
FAMILIES = (*CHATML, *PIECES, *TURNS, *CHANNELS, *OTHERS)
each = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
HELLO = [Turn(role="user", content="Hello")]
TALK = [
    Turn(role="system", content="Be brief."),
    Turn(role="user", content="Hi"),
    Turn(role="assistant", content="Hey."),
    *HELLO,
]
THOUGHTFUL = [family for family in FAMILIES if family.thought]


def right(family: Family) -> Chat:
    """Return the family's chat, with the parameter of the hint where there is one."""
    if family.file:
        return chat_of(family, ChatSettings(template=family.file))
    return chat_of(family, ChatSettings(kwargs=family.kwargs))


def talk_of(family: Family) -> list[Turn]:
    return TALK if family.system else TALK[1:]


def ids_of(chat: Chat, text: str, behind: str = "") -> list[int]:
    """Return the tokens of ``text`` as they are behind ``behind``, by the tokenizer alone."""
    before, whole = (
        chat.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (behind, behind + text)
    )
    if whole[: len(before)] == before:
        return whole[len(before) :]
    return chat.tokenizer(text, add_special_tokens=False)["input_ids"]


def generated(family: Family, chat: Chat, text: str) -> list[int]:
    return ids_of(chat, text, family.prompt)


def end_of(family: Family) -> str:
    """Return the token that ends the family's answers, as the table has it."""
    ends = [word for word in {*family.tokens, *family.ends, family.eos} if family.learnt.endswith(word)]
    return max(ends, key=len)


def test_there_is_a_family_for_each_name_once():
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    assert len(names) >= 70


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.refused], ids=lambda family: family.name)
def test_what_is_refused_is_right_with_the_parameter_of_the_hint(family, tmp_path):
    with pytest.raises(ArenaError, match=family.refused) as caught:
        check_chat(chat_of(family))
    if family.file:
        assert "chat_template" in caught.value.hint
        assert "kwargs" not in caught.value.hint
    else:
        said = re.search(r"weights\.chat_template_kwargs: (\{.*\})", caught.value.hint)
        assert said, caught.value.hint
        assert yaml.safe_load(said[1]) == family.kwargs
    check_chat(right(family))


@each
def test_the_prompt_is_what_the_family_reads(family):
    chat = right(family)
    assert chat.render(HELLO) == family.prompt
    assert chat.render(talk_of(family)) == family.talk
    assert chat.encode([HELLO]) == [ids_of(chat, family.prompt)]
    assert chat.encode([talk_of(family)]) == [ids_of(chat, family.talk)]
    assert chat.takes_system is family.system
    if not family.system:
        (refused,) = chat.prompts([TALK])
        assert isinstance(refused, Refused)
        assert "system" in refused.reason
    if family.bos:
        start = chat.tokenizer.bos_token_id
        (ids,) = chat.encode([HELLO])
        assert ids[1] != start
        assert ids.count(start) == family.prompt.count(family.bos)


@each
def test_the_answer_and_one_stop_carry_loss_behind_the_prompt_that_is_served(family):
    chat = right(family)
    found = check_chat(chat)
    form = ChatFormat(chat)
    assert form.preamble == found.preamble == family.between
    encoder = Encoder(form)
    answer = encoder.answer([Turn(role="assistant", content="Blue.")])
    for turns, text in ((HELLO, family.prompt), (talk_of(family), family.talk)):
        (served,) = chat.encode([turns])
        prompt = encoder.prompt(turns)
        assert prompt[: len(served)] == served
        assert prompt + answer == served + ids_of(chat, family.between + family.learnt, text)
    assert chat.tokenizer.decode(answer).strip(" ") == family.learnt.strip(" ")
    assert [token for token in answer if token in chat.stop_ids] == [found.end_of_turn]
    assert chat.tokenizer.convert_ids_to_tokens(found.end_of_turn) == end_of(family)
    assert set(ids_of(chat, "".join(family.ends))) <= set(chat.stop_ids)


@each
def test_an_answer_that_is_generated_is_learnt_as_it_was_generated(family):
    chat = right(family)
    form = ChatFormat(chat)
    end = end_of(family)
    read = chat.read(generated(family, chat, f"{family.straight}{end}Goodbye."))
    for _ in range(2):
        assert (read.thought, read.text.strip()) == ("", "Blue.")
        assert form.learn(read.text) == form.learn("Blue.")
        learnt = form.learn(read.text)
        assert learnt is not None
        read = chat.read([*learnt.preamble, *learnt.answer])
    for answer in (*PLAIN, LAID_OUT, "  - indented\n\n\n    more", "\n\nBlue."):
        learnt = form.learn(answer)
        assert learnt is not None, answer
        assert chat.read([*learnt.preamble, *learnt.answer]).text.strip() == answer.strip()


@pytest.mark.parametrize("family", THOUGHTFUL, ids=lambda family: family.name)
def test_a_thought_is_read_apart_and_not_learnt(family):
    chat = right(family)
    form = ChatFormat(chat)
    text = family.thought
    for _ in range(2):
        read = chat.read(generated(family, chat, f"{text}{end_of(family)}"))
        assert (read.thought, read.text) == ("Sky.", "Blue.")
        assert read.thought_tokens > 0
        learnt = form.learn(read.text)
        assert learnt is not None
        assert learnt.answer == ids_of(chat, family.learnt, family.prompt + family.between)
        text = text.replace("Blue.", read.text)
    cut = chat.read(generated(family, chat, family.opened))
    assert (cut.thought, cut.text) == ("Sky", "")
    assert any("thinks" in note or "loss" in note for note in check_chat(chat).notes) or not family.between


@pytest.mark.parametrize("family", THOUGHTFUL, ids=lambda family: family.name)
def test_a_switch_that_is_set_to_what_it_is_changes_nothing_of_what_is_learnt(family):
    """Else a user who writes down that the model thinks would have it learn answers without an empty thought."""
    same = 0
    for switch in SWITCHES:
        for value in (switch.on, switch.off) if switch.name in family.template else ():
            told = chat_of(family, ChatSettings(kwargs={switch.name: value}))
            check_chat(told)
            if told.render(HELLO) == family.prompt:
                assert ChatFormat(told).learn("Blue.") == ChatFormat(right(family)).learn("Blue.")
                same += 1
    assert same or not re.search(r"\b(enable_thinking|thinking_mode|reasoning_effort)\b", family.template)


@each
def test_no_turn_can_write_a_control_token(family):
    chat = right(family)
    own = (*family.tokens, *family.soft, *family.ends, family.eos, *([family.bos] if family.bos else []))
    words = (*own, *family.words)
    spelt = " ".join(words) + "".join(words)
    hostile = [turn.model_copy(update={"content": f"{spelt} {turn.content}"}) for turn in talk_of(family)]
    controls = set(chat.controls.values())
    plain, broken = chat.encode([talk_of(family), hostile])
    assert [token for token in broken if token in controls] == [token for token in plain if token in controls]
    for word in words:
        assert chat.render(hostile).count(word) == family.talk.count(word)
    form = ChatFormat(chat)
    assert Encoder(form).prompt(hostile) == broken + form.preamble_ids
    assert form.has_control(f"Blue.{end_of(family)}Red.")
    learnt = form.learn(f"Blue.{end_of(family)}Red.")
    assert learnt is not None
    assert not set(learnt.answer[:-1]) & controls


@each
def test_a_thought_in_an_earlier_answer_is_cut_as_the_families_do(family):
    """A family without thoughts of its own reads the marks as words."""
    chat = right(family)
    earlier = family.thought.replace("Blue.", "Hey.") or "<think>\nSky.\n</think>\n\nHey."
    turns = [
        turn.model_copy(update={"content": earlier}) if turn.role == "assistant" else turn
        for turn in talk_of(family)
    ]
    if family.thought or set(THINK) <= set(family.soft):
        assert chat.render(turns) == family.talk
        assert chat.variant(turns) == "3"
    else:
        assert chat.render(turns) == family.talk.replace("Hey.", earlier)
        assert chat.variant(turns) == ""
    assert chat.variant(talk_of(family)) == ""


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES if "strftime_now" in f.template], ids=lambda f: f.name
)
def test_the_day_of_a_prompt_is_a_parameter_and_not_today(family):
    later = chat_of(family, ChatSettings(date="2031-12-24"))
    assert "2026" in family.prompt
    assert later.render(HELLO) != family.prompt
    assert "2031" in later.render(HELLO)
    assert later.digest != chat_of(family).digest
    assert any("template_date" in note for note in check_chat(later).notes)
