"""Further families, and formats that are refused as they come: what the hint says makes them right."""

from __future__ import annotations

from family import THINK, Family, by_roles

OLMO = "<|endoftext|>"


def olmo(name: str) -> Family:
    """Return OLMo-2, or a family that writes turns as it does."""
    return Family(
        name,
        by_roles(
            head="bos_token",
            system="'<|system|>\n' + m.content + '\n'",
            user="'<|user|>\n' + m.content + '\n'",
            assistant="'<|assistant|>\n' + m.content + (eos_token if loop.last else eos_token + '\n')",
            prompt="'<|assistant|>\n'",
        ),
        (),
        words=("<|system|>", "<|user|>", "<|assistant|>"),
        bos=OLMO,
        eos=OLMO,
        ends=(OLMO,),
        prompt=f"{OLMO}<|user|>\nHello\n<|assistant|>\n",
        talk=f"{OLMO}<|system|>\nBe brief.\n<|user|>\nHi\n<|assistant|>\nHey.{OLMO}\n<|user|>\nHello\n<|assistant|>\n",
        learnt=f"Blue.{OLMO}",
    )


RECIPIENT = by_roles(
    system="'<|start|>system<|message|>' + m.content + '<|eot|>'",
    user="'<|start|>user<|message|>' + m.content + '<|eot|>'",
    assistant="'<|start|>assistant to=user<|message|>' + m.content + '<|eot|>'",
    prompt="'<|start|>assistant'",
)
SOLAR = by_roles(
    system="'<|begin|>system<|content|>' + m.content + '<|end|>'",
    user="'<|begin|>user<|content|>' + m.content + '<|end|>'",
    assistant="('<|begin|>assistant<|think|>' + m.reasoning + '<|end|>' if m.reasoning else '') + "
    "'<|begin|>assistant<|content|>' + m.content + '<|end|>'",
    prompt="'<|begin|>assistant'",
)
OTHERS = (
    olmo("OLMo-2"),
    olmo("OLMo-3-Think")._replace(
        template=by_roles(
            system="'<|im_start|>system\n' + m.content + '<|im_end|>\n'",
            user="'<|im_start|>user\n' + m.content + '<|im_end|>\n'",
            assistant="'<|im_start|>assistant\n' + m.content + (eos_token if loop.last else '<|im_end|>\n')",
            prompt="'<|im_start|>assistant\n<think>'",
        ),
        tokens=("<|im_start|>", "<|im_end|>"),
        words=(),
        ends=("<|im_end|>", OLMO),
        prompt="<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>",
        talk="<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHey.<|im_end|>\n"
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>",
        between="\n\n</think>\n\n",
        thought="Sky.</think>\n\nBlue.",
        straight="</think>\n\nBlue.",
        opened="Sky",
    ),
    olmo("Falcon-3"),
    Family(
        "GigaChat-3",
        by_roles(
            head="bos_token",
            system="'system<|role_sep|>\n' + m.content + '<|message_sep|>\n\n'",
            user="'user<|role_sep|>\n' + m.content + '<|message_sep|>\n\n'",
            assistant="'assistant<|role_sep|>\n' + m.content + '<|message_sep|>\n\n'",
            prompt="'assistant<|role_sep|>\n'",
        ),
        ("<|role_sep|>", "<|message_sep|>"),
        bos="<s>",
        eos="</s>",
        ends=("</s>",),
        prompt="<s>user<|role_sep|>\nHello<|message_sep|>\n\nassistant<|role_sep|>\n",
        talk="<s>system<|role_sep|>\nBe brief.<|message_sep|>\n\nuser<|role_sep|>\nHi<|message_sep|>\n\nassistant<|role_sep|>\n"
        "Hey.<|message_sep|>\n\nuser<|role_sep|>\nHello<|message_sep|>\n\nassistant<|role_sep|>\n",
        learnt="Blue.<|message_sep|>",
    ),
    Family(
        "Reka",
        by_roles(
            system="'human: ' + m.content + ' <sep> '",
            user="'human: ' + m.content + ' <sep> '",
            assistant="'assistant: ' + m.content + '\n\n<sep> '",
            prompt="'assistant:'",
        ),
        ("<sep>",),
        eos=OLMO,
        ends=("<sep>", OLMO),
        prompt="human: Hello <sep> assistant:",
        talk="human: Be brief. <sep> human: Hi <sep> assistant: Hey.\n\n<sep> human: Hello <sep> assistant:",
        learnt=" Blue.\n\n<sep>",
        straight=" Blue.\n\n",
    ),
    Family(
        "Laguna",
        by_roles(
            system="'<system>' + m.content + '</system>\n'",
            user="'<user>' + m.content + '</user>\n'",
            assistant="'<assistant><think></think>' + m.content + '</assistant>\n'",
            prompt="'<assistant>' + ('<think></think>' if enable_thinking is defined and not enable_thinking else '<think>')",
        ),
        ("<assistant>", "</assistant>"),
        soft=THINK,
        eos=OLMO,
        ends=(OLMO, "</assistant>"),
        prompt="<user>Hello</user>\n<assistant><think>",
        talk="<system>Be brief.</system>\n<user>Hi</user>\n<assistant><think></think>Hey.</assistant>\n<user>Hello</user>\n"
        "<assistant><think>",
        between="</think>",
        learnt="Blue.</assistant>",
        thought="Sky.</think>Blue.",
        straight="</think>Blue.",
        opened="Sky",
    ),
    # Refused as they come.
    Family(
        "Kimi-K3",
        by_roles(
            system="'<|open|>message system<|sep|>' + m.content + '<|close|>message<|sep|><|end_of_msg|>'",
            user="'<|open|>message user<|sep|>' + m.content + '<|close|>message<|sep|><|end_of_msg|>'",
            assistant="'<|open|>message assistant<|sep|>' + ('<|open|>think<|sep|><|close|>think<|sep|>' if "
            "thinking | default(true) else '') + '<|open|>response<|sep|>' + m.content + '<|close|>response<|sep|>"
            "<|close|>message<|sep|><|end_of_msg|>'",
            prompt="'<|open|>message assistant<|sep|><|open|>' + ('think' if thinking | default(true) else 'response') + "
            "'<|sep|>'",
        ),
        ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"),
        eos="<|end_of_msg|>",
        ends=("<|end_of_msg|>",),
        prompt="<|open|>message user<|sep|>Hello<|close|>message<|sep|><|end_of_msg|><|open|>message assistant<|sep|>"
        "<|open|>response<|sep|>",
        talk="<|open|>message system<|sep|>Be brief.<|close|>message<|sep|><|end_of_msg|><|open|>message user<|sep|>Hi<|close|>"
        "message<|sep|><|end_of_msg|><|open|>message assistant<|sep|><|open|>response<|sep|>Hey.<|close|>response<|sep|><|close|>"
        "message<|sep|><|end_of_msg|><|open|>message user<|sep|>Hello<|close|>message<|sep|><|end_of_msg|><|open|>message "
        "assistant<|sep|><|open|>response<|sep|>",
        learnt="Blue.<|close|>",
        refused="reads back as",
        kwargs={"thinking": False},
    ),
    Family(
        "Firefunction",
        "{{ functions }}{{ datetime }}"
        + by_roles(
            system="'<|start_header_id|>system<|end_header_id|>\n\n' + m.content + '<|eot_id|>'",
            user="'<|start_header_id|>user<|end_header_id|>\n\n' + m.content + '<|eot_id|>'",
            assistant="'<|start_header_id|>assistant<|end_header_id|>\n\n' + m.content + '<|eot_id|>'",
            prompt="'<|start_header_id|>assistant<|end_header_id|>\n\n'",
        ).replace("{% for", "{{ functions + datetime }}{% for", 1),
        ("<|start_header_id|>", "<|end_header_id|>"),
        eos="<|eot_id|>",
        ends=("<|eot_id|>",),
        prompt="<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        talk="<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi"
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHey.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        "Hello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        learnt="Blue.<|eot_id|>",
        refused="'functions' is undefined",
        kwargs={"functions": "", "datetime": ""},
    ),
    Family(
        "Solar-Open: a thought ends as an answer does",
        SOLAR,
        ("<|begin|>", "<|end|>", "<|content|>", "<|think|>"),
        eos="<|flush|>",
        ends=("<|flush|>", "<|end|>"),
        prompt="<|begin|>user<|content|>Hello<|end|><|begin|>assistant<|content|>",
        talk="<|begin|>system<|content|>Be brief.<|end|><|begin|>user<|content|>Hi<|end|><|begin|>assistant<|content|>Hey.<|end|>"
        "<|begin|>user<|content|>Hello<|end|><|begin|>assistant<|content|>",
        learnt="Blue.<|end|>",
        refused=r"ends its thoughts with <\|end\|>",
        file=by_roles(
            system="'<|begin|>system<|content|>' + m.content + '<|end|>'",
            user="'<|begin|>user<|content|>' + m.content + '<|end|>'",
            assistant="'<|begin|>assistant<|content|>' + m.content + '<|end|>'",
            prompt="'<|begin|>assistant<|content|>'",
        ),
    ),
    Family(
        "Functionary v3.2, Muse: the model names whom it speaks to",
        RECIPIENT,
        ("<|start|>", "<|message|>"),
        eos="<|eot|>",
        ends=("<|eot|>",),
        prompt="<|start|>user<|message|>Hello<|eot|><|start|>assistant to=user<|message|>",
        talk="<|start|>system<|message|>Be brief.<|eot|><|start|>user<|message|>Hi<|eot|><|start|>assistant to=user<|message|>Hey."
        "<|eot|><|start|>user<|message|>Hello<|eot|><|start|>assistant to=user<|message|>",
        learnt="Blue.<|eot|>",
        refused="reads back as",
        file=RECIPIENT.replace("'<|start|>assistant' }}", "'<|start|>assistant to=user<|message|>' }}"),
    ),
    Family(
        "a template that writes nothing of the user's words",
        "{% for m in messages if m.role == 'assistant' %}{{ m.content + eos_token }}{% endfor %}",
        (),
        eos="</s>",
        ends=("</s>",),
        prompt="Hello\n",
        talk="Be brief.\nHi\nHey.</s>Hello\n",
        learnt="Blue.</s>",
        refused="leaves the user's words out",
        file=by_roles(system="m.content + '\n'", user="m.content + '\n'", assistant="m.content + eos_token"),
    ),
)
