"""Conversations in several scripts, with a fixed history, a system prompt and two answers each."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from arena_learning.schema import Instruction, Turn


class Foreign(NamedTuple):
    """A conversation of three turns (user, assistant, user) in one language or script.

    Attributes:
        code: ISO 639-1 code of the language.
        system: a contestant's system prompt.
        turns: what is asked, the history included.
        good: the better answer to the last turn.
        poor: the worse one.
    """

    code: str
    system: str
    turns: tuple[str, str, str]
    good: str
    poor: str

    def instruction(self, name: str) -> Instruction:
        """Return the conversation as an instruction with the id ``name``."""
        first, reply, last = self.turns
        turns = (
            Turn(role="user", content=first),
            Turn(role="assistant", content=reply),
            Turn(role="user", content=last),
        )
        return Instruction(id=name, turns=turns, language=self.code, category="dialogue")


# By language or script; "decomposed" is German with its accents as characters of their own (Unicode's NFD).
FOREIGN = {
    "German": Foreign(
        "de",
        "Antworte kurz und höflich, mit „ß“ und Umlauten.",
        ("Welcher Fluss fließt durch Wien?", "Die Donau.", "Und wo mündet er?"),
        "Er mündet ins Schwarze Meer – nach über 2 800 Kilometern.",
        "Weiß nicht, vielleicht nördlich von Köln.",
    ),
    "decomposed": Foreign(
        "de",
        unicodedata.normalize("NFD", "Schließe jede Antwort mit „schöne Grüße“."),
        (
            unicodedata.normalize("NFD", "Was heißt «müde»?"),
            "Tired.",
            unicodedata.normalize("NFD", "Und «über»?"),
        ),
        unicodedata.normalize("NFD", "«Über» heißt «over» oder «about»."),
        unicodedata.normalize("NFD", "Keine Ahnung, schöne Grüße."),
    ),
    "Chinese": Foreign(
        "zh",
        "请用一句话回答。",
        ("哪条河流经维也纳？", "多瑙河。", "它在哪里入海？"),
        "它流入黑海，全长约2850公里。",
        "我不知道，可能是莱茵河吧！",
    ),
    "Japanese": Foreign(
        "ja",
        "丁寧に答えてください。",
        ("ウィーンを流れる川は？", "ドナウ川です。", "どこに注ぎますか？"),
        "黒海に注ぎます。「青きドナウ」で知られています。",
        "わかりません…",
    ),
    "Arabic": Foreign(
        "ar",
        "أجب بجملة واحدة، من فضلك.",
        ("أيّ نهرٍ يمرّ بفيينا؟", "نهر الدانوب.", "وأين يصبّ؟"),
        "يصبّ في البحر الأسود (Black Sea) بعد 2850 كم.",
        "لا أعرف؛ ربما في بحر الشمال.",
    ),
    "Hindi": Foreign(
        "hi",
        "एक वाक्य में उत्तर दीजिए।",
        ("वियना से कौन-सी नदी बहती है?", "डेन्यूब।", "वह कहाँ गिरती है?"),
        "वह काला सागर में गिरती है।",
        "मुझे नहीं पता।",
    ),
    "Thai": Foreign(
        "th",
        "ตอบสั้น ๆ",
        ("แม่น้ำอะไรไหลผ่านเวียนนา", "แม่น้ำดานูบ", "ไหลลงทะเลที่ไหน"),
        "ไหลลงทะเลดำ",
        "ไม่ทราบครับ",
    ),
    "emoji": Foreign(
        "en",
        "Answer in emoji 🙂 only.",
        ("👩‍👩‍👧‍👦 = ?", "A family 👍🏽", "🇦🇹🏞️ → ?"),
        "🌊🖤 = the Black Sea ❤️‍🔥",
        "🤷🏾‍♀️ 1️⃣",
    ),
}
