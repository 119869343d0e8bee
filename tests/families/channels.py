"""Families that name what they say (channels, responses, thoughts with words of their own), and others of their kind."""

from __future__ import annotations

from family import THINK, Family, by_roles

COMMAND = (
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
)
THINKING = ("<|START_THINKING|>", "<|END_THINKING|>")
RESPONSE = ("<|START_RESPONSE|>", "<|END_RESPONSE|>")
TEXT = ("<|START_TEXT|>", "<|END_TEXT|>")
HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>")
MISTRAL = ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
APERTUS = tuple(
    f"<|{who}_{what}|>" for who in ("system", "developer", "user", "assistant") for what in ("start", "end")
)


def command(
    name: str, said: str, prompt: str = "''", opening: str = "", history: str = "Hey.", **more: object
) -> Family:
    """Return a family of Command's; ``said`` is what the template writes of an assistant's content."""
    turn = "<|START_OF_TURN_TOKEN|>{}{}<|END_OF_TURN_TOKEN|>"
    open_turn = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    asked = turn.format("<|USER_TOKEN|>", "Hello") + open_turn + opening

    def expression(role: str, content: str) -> str:
        return f"'<|START_OF_TURN_TOKEN|>{role}' + {content} + '<|END_OF_TURN_TOKEN|>'"

    told = {
        "eos": "<|END_OF_TURN_TOKEN|>",
        "ends": ("<|END_OF_TURN_TOKEN|>",),
        "learnt": "Blue.<|END_OF_TURN_TOKEN|>",
        "tokens": COMMAND,
        **more,
    }
    return Family(
        name,
        by_roles(
            head="bos_token",
            system=expression("<|SYSTEM_TOKEN|>", "m.content"),
            user=expression("<|USER_TOKEN|>", "m.content"),
            assistant=expression("<|CHATBOT_TOKEN|>", said),
            prompt=f"'{open_turn}' + ({prompt})",
        ),
        bos="<BOS_TOKEN>",
        prompt="<BOS_TOKEN>" + asked,
        talk="<BOS_TOKEN>"
        + turn.format("<|SYSTEM_TOKEN|>", "Be brief.")
        + turn.format("<|USER_TOKEN|>", "Hi")
        + turn.format("<|CHATBOT_TOKEN|>", history)
        + asked,
        **told,
    )


def mistral(name: str, default: str, shown: str, *, thoughts: bool = False) -> Family:
    """Return a family of Mistral's of 2025: a system prompt of its own where none is given."""
    return Family(
        name,
        f"{{{{ bos_token }}}}{{% if messages[0].role != 'system' %}}{{{{ '[SYSTEM_PROMPT]' + {default} + '[/SYSTEM_PROMPT]' }}}}"
        "{% endif %}"
        + by_roles(
            system="'[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]'",
            user="'[INST]' + m.content + '[/INST]'",
            assistant="m.content + eos_token",
        ),
        (*MISTRAL, *(("[THINK]", "[/THINK]") if thoughts else ())),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        prompt=f"<s>[SYSTEM_PROMPT]{shown}[/SYSTEM_PROMPT][INST]Hello[/INST]",
        talk="<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]Hey.</s>[INST]Hello[/INST]",
        between="[THINK][/THINK]" if thoughts else "",
        learnt="Blue.</s>",
        thought="[THINK]Sky.[/THINK]Blue." if thoughts else "",
        opened="[THINK]Sky" if thoughts else "",
    )


CHANNELS = (
    command("Command-R, Command-R+", "m.content | trim", named=True),
    command(
        "Command-R7B",
        "'<|START_RESPONSE|>' + m.content + '<|END_RESPONSE|>'",
        "'<|START_THINKING|><|END_THINKING|>' if not enable_thinking else ''",
        "<|START_THINKING|><|END_THINKING|>",
        "<|START_RESPONSE|>Hey.<|END_RESPONSE|>",
        tokens=(*COMMAND, *THINKING, *RESPONSE),
        between="<|START_RESPONSE|>",
        learnt="Blue.<|END_RESPONSE|>",
        straight="<|START_RESPONSE|>Blue.",
    ),
    command(
        "Command-A-Reasoning",
        "'<|START_RESPONSE|>' + m.content + '<|END_RESPONSE|>'",
        "'<|START_THINKING|><|END_THINKING|>' if reasoning is defined and not reasoning else '<|START_THINKING|>'",
        "<|START_THINKING|>",
        "<|START_RESPONSE|>Hey.<|END_RESPONSE|>",
        tokens=(*COMMAND, *THINKING, *RESPONSE),
        between="<|END_THINKING|><|START_RESPONSE|>",
        learnt="Blue.<|END_RESPONSE|>",
        thought="Sky.<|END_THINKING|><|START_RESPONSE|>Blue.",
        straight="<|END_THINKING|><|START_RESPONSE|>Blue.",
        opened="Sky",
    ),
    command(
        "Command of 2026 (its answers are texts)",
        "'<|START_TEXT|>' + m.content + '<|END_TEXT|>'",
        "'<|START_THINKING|>'",
        "<|START_THINKING|>",
        "<|START_TEXT|>Hey.<|END_TEXT|>",
        tokens=(*COMMAND, *THINKING, *TEXT),
        between="\n\n<|END_THINKING|>\n\n<|START_TEXT|>",
        learnt="Blue.<|END_TEXT|>",
        thought="Sky.<|END_THINKING|><|START_TEXT|>Blue.",
        straight="<|END_THINKING|><|START_TEXT|>Blue.",
        opened="Sky",
    ),
    mistral("Mistral-Small-3.2", "'Today is ' + strftime_now('%Y-%m-%d')", "Today is 2026-01-01"),
    mistral(
        "Magistral, Ministral-3-Reasoning",
        "'Draft: [THINK]Here.[/THINK]'",
        "Draft: [THINK]Here.[/THINK]",
        thoughts=True,
    ),
    Family(
        "gpt-oss",
        "{{ '<|start|>system<|message|>Date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}"
        + by_roles(
            system="'<|start|>developer<|message|>' + m.content + '<|end|>'",
            user="'<|start|>user<|message|>' + m.content + '<|end|>'",
            assistant="('<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' if m.thinking and "
            "loop.last and not add_generation_prompt else '') + '<|start|>assistant<|channel|>final<|message|>' + m.content "
            "+ ('<|return|>' if loop.last and not add_generation_prompt else '<|end|>')",
            prompt="'<|start|>assistant'",
        ),
        HARMONY,
        bos="<|startoftext|>",
        eos="<|return|>",
        ends=("<|return|>", "<|endoftext|>", "<|call|>"),
        prompt="<|start|>system<|message|>Date: 2026-01-01<|end|><|start|>user<|message|>Hello<|end|><|start|>assistant",
        talk="<|start|>system<|message|>Date: 2026-01-01<|end|><|start|>developer<|message|>Be brief.<|end|>"
        "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>final<|message|>Hey.<|end|>"
        "<|start|>user<|message|>Hello<|end|><|start|>assistant",
        between="<|channel|>final<|message|>",
        learnt="Blue.<|return|>",
        thought="<|channel|>analysis<|message|>Sky.<|end|><|start|>assistant<|channel|>final<|message|>Blue.",
        straight="<|channel|>final<|message|>Blue.",
        opened="<|channel|>analysis<|message|>Sky",
    ),
    Family(
        "Apertus",
        "{{ bos_token }}{% if messages[0].role != 'system' %}{{ '<|system_start|>Date: ' + strftime_now('%Y-%m-%d') + "
        "'<|system_end|>' }}{% endif %}{% set ns = namespace(open=false) %}{% for m in messages %}"
        "{% if m.role == 'system' %}{{ '<|system_start|>' + m.content + '<|system_end|>' }}{% elif m.role == 'user' %}"
        "{% if ns.open %}{{ '<|assistant_end|>' }}{% set ns.open = false %}{% endif %}{{ '<|user_start|>' + m.content + "
        "'<|user_end|>' }}{% else %}{{ '<|assistant_start|>' + m.content }}{% set ns.open = true %}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant_start|>' }}{% endif %}",
        (*APERTUS, "<|inner_prefix|>", "<|inner_suffix|>"),
        bos="<s>",
        eos="<|assistant_end|>",
        ends=("<|assistant_end|>",),
        prompt="<s><|system_start|>Date: 2026-01-01<|system_end|><|user_start|>Hello<|user_end|><|assistant_start|>",
        talk="<s><|system_start|>Be brief.<|system_end|><|user_start|>Hi<|user_end|><|assistant_start|>Hey.<|assistant_end|>"
        "<|user_start|>Hello<|user_end|><|assistant_start|>",
        learnt="Blue.<|assistant_end|>",
        thought="<|inner_prefix|>Sky.<|inner_suffix|>Blue.",
        opened="<|inner_prefix|>Sky",
    ),
    Family(
        "Seed-OSS",
        "{% for m in messages %}{{ bos_token + m.role + '\n' + (m.content | trim) + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}",
        (),
        soft=("<seed:think>", "</seed:think>"),
        bos="<seed:bos>",
        eos="<seed:eos>",
        ends=("<seed:eos>",),
        prompt="<seed:bos>user\nHello<seed:eos><seed:bos>assistant\n",
        talk="<seed:bos>system\nBe brief.<seed:eos><seed:bos>user\nHi<seed:eos><seed:bos>assistant\nHey.<seed:eos>"
        "<seed:bos>user\nHello<seed:eos><seed:bos>assistant\n",
        learnt="Blue.<seed:eos>",
        thought="<seed:think>Sky.</seed:think>Blue.",
        opened="<seed:think>Sky",
    ),
    Family(
        "Seed-OSS told not to think: its prompt has a thought that says so",
        "{% for m in messages %}{{ bos_token + m.role + '\n' + (m.content | trim) + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant\n<seed:think>\n<seed:cot>None.</seed:cot>\n</seed:think>' }}"
        "{% endif %}",
        (),
        soft=("<seed:think>", "</seed:think>"),
        bos="<seed:bos>",
        eos="<seed:eos>",
        ends=("<seed:eos>",),
        prompt="<seed:bos>user\nHello<seed:eos><seed:bos>assistant\n<seed:think>\n<seed:cot>None.</seed:cot>\n</seed:think>",
        talk="<seed:bos>system\nBe brief.<seed:eos><seed:bos>user\nHi<seed:eos><seed:bos>assistant\nHey.<seed:eos><seed:bos>"
        "user\nHello<seed:eos><seed:bos>assistant\n<seed:think>\n<seed:cot>None.</seed:cot>\n</seed:think>",
        learnt="Blue.<seed:eos>",
    ),
    Family(
        "EXAONE-4",
        "{% for m in messages %}{{ '[|' + m.role + '|]\n' + m.content + '[|endofturn|]\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '[|assistant|]\n' + ('<think>\n' if enable_thinking is defined and "
        "enable_thinking else '<think>\n\n</think>\n\n') }}{% endif %}",
        ("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]"),
        soft=THINK,
        bos="[BOS]",
        eos="[|endofturn|]",
        ends=("[|endofturn|]",),
        prompt="[|user|]\nHello[|endofturn|]\n[|assistant|]\n<think>\n\n</think>\n\n",
        talk="[|system|]\nBe brief.[|endofturn|]\n[|user|]\nHi[|endofturn|]\n[|assistant|]\nHey.[|endofturn|]\n[|user|]\nHello"
        "[|endofturn|]\n[|assistant|]\n<think>\n\n</think>\n\n",
        learnt="Blue.[|endofturn|]",
    ),
    Family(
        "EXAONE-Deep",
        by_roles(
            system="'[|system|]' + m.content + '[|endofturn|]\n'",
            user="'[|user|]' + m.content + '\n'",
            assistant="'[|assistant|]' + m.content.split('</thought>')[-1] + '[|endofturn|]\n'",
            prompt="'[|assistant|]<thought>\n'",
        ),
        ("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]"),
        soft=("<thought>", "</thought>"),
        bos="[BOS]",
        eos="[|endofturn|]",
        ends=("[|endofturn|]",),
        prompt="[|user|]Hello\n[|assistant|]<thought>\n",
        talk="[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n[|assistant|]Hey.[|endofturn|]\n[|user|]Hello\n"
        "[|assistant|]<thought>\n",
        between="\n</thought>\n\n",
        learnt="Blue.[|endofturn|]",
        thought="Sky.\n</thought>\n\nBlue.",
        straight="\n</thought>\n\nBlue.",
        opened="Sky",
    ),
    Family(
        "Hunyuan",
        "{% set s = messages[0].content if messages[0].role == 'system' else '' %}{{ bos_token + s + ('<hy_place_3>' if s else "
        "'') }}{% for m in messages %}{% if m.role == 'user' %}{{ '<hy_User>' + m.content }}{% elif m.role == 'assistant' %}"
        "{{ '<hy_Assistant>' + m.content.split('</think>')[-1] + ('' if loop.last else eos_token) }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<hy_Assistant>' + ('' if enable_thinking | default(true) else '<think>\n\n</think>\n'"
        ") }}{% endif %}",
        ("<hy_User>", "<hy_Assistant>", "<hy_place_3>"),
        soft=THINK,
        bos="<hy_bos>",
        eos="<hy_eos>",
        ends=("<hy_eos>",),
        prompt="<hy_bos><hy_User>Hello<hy_Assistant>",
        talk="<hy_bos>Be brief.<hy_place_3><hy_User>Hi<hy_Assistant>Hey.<hy_eos><hy_User>Hello<hy_Assistant>",
        between="<think>\n\n</think>\n",
        learnt="Blue.<hy_eos>",
        thought="<think>\nSky.\n</think>\nBlue.",
        opened="<think>\nSky",
    ),
    Family(
        "MiniMax-M2",
        "{{ ']~!b[]~b]system\n' + (messages[0].content if messages[0].role == 'system' else 'You help.') + '[e~[\n' }}"
        "{% for m in messages %}{% if m.role == 'user' %}{{ ']~b]user\n' + m.content + '[e~[\n' }}{% elif m.role == 'assistant'"
        " %}{{ ']~b]ai\n' + m.content.split('</think>')[-1].strip('\n') + '[e~[\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ ']~b]ai\n<think>\n' }}{% endif %}",
        ("]~b]",),
        soft=THINK,
        bos="]~!b[",
        eos="[e~[",
        ends=("[e~[",),
        prompt="]~!b[]~b]system\nYou help.[e~[\n]~b]user\nHello[e~[\n]~b]ai\n<think>\n",
        talk="]~!b[]~b]system\nBe brief.[e~[\n]~b]user\nHi[e~[\n]~b]ai\nHey.[e~[\n]~b]user\nHello[e~[\n]~b]ai\n<think>\n",
        between="\n</think>\n\n",
        learnt="Blue.[e~[",
        thought="Sky.\n</think>\n\nBlue.",
        straight="\n</think>\n\nBlue.",
        opened="Sky",
    ),
    Family(
        "Apriel-1.6",
        by_roles(
            head="bos_token",
            system="'<|begin_system|>\n' + m.content + '\n'",
            user="'<|begin_user|>\n' + m.content + '\n'",
            assistant="'<|begin_assistant|>\n' + m.content.split('[BEGIN FINAL RESPONSE]')[-1] + ('' if loop.last else "
            "'\n<|end|>\n')",
            prompt="'<|begin_assistant|>\nHere are my reasoning steps:\n'",
        ),
        ("<|begin_system|>", "<|begin_user|>", "<|begin_assistant|>"),
        bos="<s>",
        eos="<|end|>",
        ends=("<|end|>",),
        prompt="<s><|begin_user|>\nHello\n<|begin_assistant|>\nHere are my reasoning steps:\n",
        talk="<s><|begin_system|>\nBe brief.\n<|begin_user|>\nHi\n<|begin_assistant|>\nHey.\n<|end|>\n<|begin_user|>\nHello\n"
        "<|begin_assistant|>\nHere are my reasoning steps:\n",
        between="\n[BEGIN FINAL RESPONSE]\n\n",
        learnt="Blue.<|end|>",
        thought="Sky.\n[BEGIN FINAL RESPONSE]\nBlue.",
        straight="[BEGIN FINAL RESPONSE]\nBlue.",
        opened="Sky",
    ),
)
