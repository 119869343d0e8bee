"""Families with marks of their own around turns: Llama, DeepSeek, GLM, Kimi, Phi-4, Granite, Mistral of 2025, ..."""

from __future__ import annotations

from family import THINK, Family, by_roles

LLAMA_3 = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>")
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
AFTER = "m.content.split('</think>')[-1]"


def llama_3(name: str, date: str = "", shown: str = "") -> Family:
    """Return Llama-3 or one of its successors, with what its system turn says of a date."""
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    template = (
        "{{ bos_token }}{% set s = messages[0].content | trim if messages[0].role == 'system' else '' %}"
        + (f"{{{{ '{head.format('system')}' + {date} + '\n\n' + s + '<|eot_id|>' }}}}" if date else "")
        + "{% for m in messages "
        + ("if m.role != 'system' " if date else "")
        + "%}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ '{head.format('assistant')}' }}}}{{% endif %}}"
    )
    opening = f"{head.format('system')}{shown}\n\n" if date else ""
    asked = f"{head.format('user')}Hello<|eot_id|>{head.format('assistant')}"
    system = opening or head.format("system")
    return Family(
        name,
        template,
        LLAMA_3,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        ends=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        prompt="<|begin_of_text|>" + (f"{opening}<|eot_id|>" if opening else "") + asked,
        talk=f"<|begin_of_text|>{system}Be brief.<|eot_id|>{head.format('user')}Hi<|eot_id|>"
        f"{head.format('assistant')}Hey.<|eot_id|>{asked}",
        learnt="Blue.<|eot_id|>",
    )


def deepseek(
    name: str, *, prompt: str = "''", said: str = AFTER, opening: str = "", history: str = "", **more: object
):
    """Return a family of DeepSeek's: the system turn stands bare behind the start of text."""
    told = {
        "template": by_roles(
            head="bos_token",
            system="m.content",
            user="'<｜User｜>' + m.content",
            assistant=f"'<｜Assistant｜>' + {said} + eos_token",
            prompt=f"'<｜Assistant｜>' + ({prompt})",
        ),
        "tokens": DEEPSEEK,
        "bos": BOS,
        "eos": EOS,
        "ends": (EOS,),
        "prompt": f"{BOS}<｜User｜>Hello<｜Assistant｜>{opening}",
        "talk": f"{BOS}Be brief.<｜User｜>Hi<｜Assistant｜>{history}Hey.{EOS}<｜User｜>Hello<｜Assistant｜>{opening}",
        "learnt": f"Blue.{EOS}",
        **more,
    }
    return Family(name, **told)


OPENS = {
    "soft": THINK,
    "prompt": "'<think>\n'",
    "opening": "<think>\n",
    "between": "\n</think>\n\n",
    "thought": "Sky.\n</think>\n\nBlue.",
    "straight": "\n</think>\n\nBlue.",
    "opened": "Sky",
}
GLM = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
GLM_ENDS = ("<|endoftext|>", "<|user|>", "<|observation|>")
KIMI = ("<|im_system|>", "<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|im_end|>", "[EOS]")


def kimi(name: str, history: str = "''", seen: str = "", **more: object) -> Family:
    """Return a family of Kimi's: a token for each role, its name, and a third behind the name."""
    asked = "<|im_user|>user<|im_middle|>Hello<|im_end|><|im_assistant|>assistant<|im_middle|>"
    return Family(
        name,
        "{% if messages[0].role != 'system' %}{{ '<|im_system|>system<|im_middle|>You help.<|im_end|>' }}{% endif %}"
        + by_roles(
            system="'<|im_system|>system<|im_middle|>' + m.content + '<|im_end|>'",
            user="'<|im_user|>user<|im_middle|>' + m.content + '<|im_end|>'",
            assistant=f"'<|im_assistant|>assistant<|im_middle|>' + {history} + m.content + '<|im_end|>'",
            prompt="'<|im_assistant|>assistant<|im_middle|>'",
        ),
        KIMI,
        bos="[BOS]",
        eos="[EOS]",
        ends=("<|im_end|>",),
        prompt="<|im_system|>system<|im_middle|>You help.<|im_end|>" + asked,
        talk="<|im_system|>system<|im_middle|>Be brief.<|im_end|><|im_user|>user<|im_middle|>Hi<|im_end|>"
        f"<|im_assistant|>assistant<|im_middle|>{seen}Hey.<|im_end|>" + asked,
        learnt="Blue.<|im_end|>",
        **more,
    )


def phi_4(name: str, before: str = "", told: str = "", **more: object) -> Family:
    """Return Phi-4 or its reasoning variant, whose system turn says to think."""
    asked = "<|im_start|>user<|im_sep|>Hello<|im_end|><|im_start|>assistant<|im_sep|>"
    brief = (
        told.replace("<|im_end|>", "Be brief.<|im_end|>") or "<|im_start|>system<|im_sep|>Be brief.<|im_end|>"
    )
    return Family(
        name,
        before
        + "{% for m in messages "
        + ("if m.role != 'system' " if before else "")
        + "%}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
        ("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        bos="<|endoftext|>",
        eos="<|im_end|>",
        ends=("<|endoftext|>", "<|im_end|>"),
        prompt=told + asked,
        talk=brief
        + "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>Hey.<|im_end|>"
        + asked,
        learnt="Blue.<|im_end|>",
        **more,
    )


def granite(name: str, before: str, told: str) -> Family:
    """Return a family of Granite's."""
    role = "<|start_of_role|>{}<|end_of_role|>"
    asked = f"{role.format('user')}Hello<|end_of_text|>\n{role.format('assistant')}"
    return Family(
        name,
        before + "{% for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + "
        "'<|end_of_text|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}"
        "{% endif %}",
        ("<|start_of_role|>", "<|end_of_role|>"),
        bos="<|end_of_text|>",
        eos="<|end_of_text|>",
        ends=("<|end_of_text|>",),
        kind="gpt-2",
        prompt=told + asked,
        talk=f"{role.format('system')}Be brief.<|end_of_text|>\n{role.format('user')}Hi<|end_of_text|>\n"
        f"{role.format('assistant')}Hey.<|end_of_text|>\n{asked}",
        learnt="Blue.<|end_of_text|>",
    )


ROLE_SYSTEM = "{% if messages[0].role != 'system' %}{{ '<|start_of_role|>system<|end_of_role|>' + "
TURNS = (
    llama_3("Llama-3"),
    llama_3("Llama-3.1, 3.3", "'Today: ' + (date_string | default('26 Jul 2024'))", "Today: 26 Jul 2024"),
    llama_3("Llama-3.2", "'Today: ' + strftime_now('%d %b %Y')", "Today: 01 Jan 2026"),
    llama_3("Llama-4")._replace(
        template=by_roles(
            head="bos_token",
            system="'<|header_start|>system<|header_end|>\n\n' + m.content | trim + '<|eot|>'",
            user="'<|header_start|>user<|header_end|>\n\n' + m.content | trim + '<|eot|>'",
            assistant="'<|header_start|>assistant<|header_end|>\n\n' + m.content | trim + '<|eot|>'",
            prompt="'<|header_start|>assistant<|header_end|>\n\n'",
        ),
        tokens=("<|header_start|>", "<|header_end|>", "<|eot|>"),
        eos="<|eot|>",
        ends=("<|end_of_text|>", "<|eom|>", "<|eot|>"),
        prompt="<|begin_of_text|><|header_start|>user<|header_end|>\n\nHello<|eot|><|header_start|>assistant<|header_end|>\n\n",
        talk="<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|><|header_start|>user<|header_end|>\n\n"
        "Hi<|eot|><|header_start|>assistant<|header_end|>\n\nHey.<|eot|><|header_start|>user<|header_end|>\n\nHello<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\n",
        learnt="Blue.<|eot|>",
    ),
    deepseek("DeepSeek-V3", said="m.content"),
    deepseek("DeepSeek-R1 and its Llama distill")._replace(
        template=deepseek("", **{"prompt": "'<think>\n'"}).template,
        prompt=f"{BOS}<｜User｜>Hello<｜Assistant｜><think>\n",
        talk=f"{BOS}Be brief.<｜User｜>Hi<｜Assistant｜>Hey.{EOS}<｜User｜>Hello<｜Assistant｜><think>\n",
        **{key: value for key, value in OPENS.items() if key not in ("prompt", "opening")},
    ),
    deepseek(
        "DeepSeek-R1's Qwen distill as first published",
        soft=THINK,
        thought="<think>\nSky.\n</think>\n\nBlue.",
        opened="<think>\nSky",
    ),
    deepseek(
        "DeepSeek-V3.1, V3.2, V4",
        soft=THINK,
        said=f"'</think>' + {AFTER}",
        opening="</think>",
        history="</think>",
    )._replace(
        template=deepseek(
            "",
            said=f"'</think>' + {AFTER}",
            **{"prompt": "'<think>' if thinking | default(false) else '</think>'"},
        ).template
    ),
    Family(
        "GLM-4",
        "{{ '[gMASK]<sop>' }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
        GLM,
        eos="<|endoftext|>",
        ends=GLM_ENDS,
        prompt="[gMASK]<sop><|user|>\nHello<|assistant|>",
        talk="[gMASK]<sop><|system|>\nBe brief.<|user|>\nHi<|assistant|>\nHey.<|user|>\nHello<|assistant|>",
        between="\n",
        learnt="Blue.<|user|>",
        straight="\nBlue.",
    ),
    Family(
        "GLM-4.5, 4.6",
        by_roles(
            head="'[gMASK]<sop>'",
            system="'<|system|>\n' + m.content",
            user="'<|user|>\n' + m.content + ('/nothink' if enable_thinking is defined and not enable_thinking else '')",
            assistant="'<|assistant|>\n<think></think>\n' + " + AFTER + ".strip()",
            prompt="'<|assistant|>' + ('\n<think></think>' if enable_thinking is defined and not enable_thinking else '')",
        ),
        GLM,
        soft=THINK,
        eos="<|endoftext|>",
        ends=GLM_ENDS,
        prompt="[gMASK]<sop><|user|>\nHello<|assistant|>",
        talk="[gMASK]<sop><|system|>\nBe brief.<|user|>\nHi<|assistant|>\n<think></think>\nHey.<|user|>\nHello<|assistant|>",
        between="\n<think></think>\n",
        learnt="Blue.<|user|>",
        thought="\n<think>Sky.</think>\nBlue.",
        opened="\n<think>Sky",
    ),
    Family(
        "GLM-4.7",
        by_roles(
            head="'[gMASK]<sop>'",
            system="'<|system|>' + m.content",
            user="'<|user|>' + m.content",
            assistant="'<|assistant|></think>' + " + AFTER + ".strip()",
            prompt="'<|assistant|>' + ('</think>' if enable_thinking is defined and not enable_thinking else '<think>')",
        ),
        GLM,
        soft=THINK,
        eos="<|endoftext|>",
        ends=GLM_ENDS,
        prompt="[gMASK]<sop><|user|>Hello<|assistant|><think>",
        talk="[gMASK]<sop><|system|>Be brief.<|user|>Hi<|assistant|></think>Hey.<|user|>Hello<|assistant|><think>",
        between="</think>",
        learnt="Blue.<|user|>",
        thought="Sky.</think>Blue.",
        straight="</think>Blue.",
        opened="Sky",
    ),
    kimi("Kimi-K2"),
    kimi(
        "Kimi-K2-Thinking",
        "'<think></think>'",
        "<think></think>",
        soft=THINK,
        between="<think></think>",
        thought="<think>Sky.</think>Blue.",
        opened="<think>Sky",
    ),
    phi_4("Phi-4"),
    phi_4(
        "Phi-4-reasoning",
        "{{ '<|im_start|>system<|im_sep|>Write <think> Thought </think> Solution.' + (messages[0].content if "
        "messages[0].role == 'system' else '') + '<|im_end|>' }}",
        "<|im_start|>system<|im_sep|>Write <think> Thought </think> Solution.<|im_end|>",
        soft=THINK,
        between="<think></think>",
        thought="<think>Sky.</think>Blue.",
        opened="<think>Sky",
    ),
    Family(
        "Phi-4-mini",
        "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
        "{{ '<|assistant|>' if add_generation_prompt else eos_token }}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        ends=("<|endoftext|>", "<|end|>"),
        prompt="<|user|>Hello<|end|><|assistant|>",
        talk="<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>Hey.<|end|><|user|>Hello<|end|><|assistant|>",
        learnt="Blue.<|end|>",
    ),
    granite(
        "Granite-3.3",
        ROLE_SYSTEM + "strftime_now('%B %d, %Y') + ('Think.' if thinking | default(false) else '') + "
        "'<|end_of_text|>\n' }}{% endif %}",
        "<|start_of_role|>system<|end_of_role|>January 01, 2026<|end_of_text|>\n",
    ),
    granite(
        "Granite-4",
        ROLE_SYSTEM + "'You help.<|end_of_text|>\n' }}{% endif %}",
        "<|start_of_role|>system<|end_of_role|>You help.<|end_of_text|>\n",
    ),
)
