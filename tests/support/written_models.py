"""Small random models in the real architectures, written as ordinary model folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

TEXT = "a the cat dog sat on mat red blue ran home far and or ship team . , : ? yes no " * 3
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}{{ raise_exception('no system message here') }}{% endif %}"
    "[{{ message.role }}] {{ message.content }} {% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def write_tokenizer(folder: Path, *, bos: bool = True, chat: bool = False) -> int:
    """Writes a byte-level tokenizer that opens texts with <s> if `bos`; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<stop>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([TEXT], trainer)
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    names = {"eos_token": "</s>", "additional_special_tokens": ["<stop>"]} | ({"bos_token": "<s>"} if bos else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    if chat:
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def write_model(folder: Path, kind: str, *, bos: bool = True, chat: bool = False, context: int = 64) -> Path:
    """Writes a random model of one architecture with its tokenizer."""
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder, bos=bos, chat=chat)
    small = {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    size = {"max_position_embeddings": context}
    gpt = {"vocab_size": vocabulary, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": context, "eos_token_id": 1}
    configs: dict[str, Callable[[], transformers.PretrainedConfig]] = {
        "llama": lambda: transformers.LlamaConfig(**small, **heads, **size),
        "gpt2": lambda: transformers.GPT2Config(**gpt),
        "openai-gpt": lambda: transformers.OpenAIGPTConfig(**gpt),  # no cache
        "mamba": lambda: transformers.MambaConfig(**small, state_size=8),
        "rwkv": lambda: transformers.RwkvConfig(**small, context_length=context, attention_hidden_size=32),
        "bloom": lambda: transformers.BloomConfig(**small, n_head=4),  # ALiBi
    }
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(configs[kind]())
    with torch.no_grad():  # wider than the default, so that choices differ and continuations are not all one token
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6 if kind != "rwkv" else 2)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=1, temperature=0.3, do_sample=True, repetition_penalty=3.0
    )
    model.save_pretrained(folder)
    return folder
