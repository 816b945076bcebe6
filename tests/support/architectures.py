"""Small random models of every architecture the engine must run: real model classes, a few thousand weights.

    model = build("gemma3")

Every model reads ids 0..VOCABULARY-1, up to CONTEXT tokens unless its class has no limit, in fp32 on the CPU. Weights
are larger than at a usual start, so that attending to a wrong token moves a log-probability by far more than rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VOCABULARY = 160
CONTEXT = 256
WINDOW = 16  # sliding windows here are shorter than the texts of the tests

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """config: the transformers configuration class; settings: its arguments; shares: the tree method must hold."""

    config: str
    settings: dict[str, Any]
    shares: bool = True
    kind: str = "AutoModelForCausalLM"


def _shape(**more: Any) -> dict[str, Any]:
    return SHAPE | more


def _without(*names: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in SHAPE.items() if key not in names} | more


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture("LlamaConfig", _shape()),
    "qwen2": Architecture("Qwen2Config", _shape(tie_word_embeddings=True)),
    "qwen3": Architecture("Qwen3Config", _shape(head_dim=8)),
    "gemma2": Architecture(  # soft-capping of scores and logits; every other layer slides
        "Gemma2Config",
        _shape(head_dim=8, sliding_window=WINDOW, final_logit_softcapping=3.0, attn_logit_softcapping=5.0),
    ),
    "gemma3": Architecture(
        "Gemma3TextConfig",
        _shape(
            head_dim=8,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
    ),
    "phi3": Architecture("Phi3Config", _shape()),
    "phi3_long": Architecture(  # turns every position by other angles in texts beyond 64 tokens
        "Phi3Config",
        _shape(
            original_max_position_embeddings=64,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "short_factor": [1.0] * 4,
                "long_factor": [6.0] * 4,
                "original_max_position_embeddings": 64,
            },
        ),
    ),
    "gpt2": Architecture(  # learned absolute positions
        "GPT2Config",
        {
            "vocab_size": VOCABULARY,
            "n_embd": 32,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": CONTEXT,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "gpt_neox": Architecture("GPTNeoXConfig", _without("num_key_value_heads")),
    "mistral": Architecture("MistralConfig", _shape(sliding_window=WINDOW)),
    "falcon_rotary": Architecture(
        "FalconConfig",
        _without("num_key_value_heads", "intermediate_size", "max_position_embeddings", alibi=False),
    ),
    "falcon_alibi": Architecture(
        "FalconConfig",
        _without("num_key_value_heads", "intermediate_size", "max_position_embeddings", alibi=True),
        shares=False,
    ),
    "opt": Architecture(
        "OPTConfig",
        _without("num_key_value_heads", "intermediate_size", ffn_dim=64, word_embed_proj_dim=32),
    ),
    "granite": Architecture("GraniteConfig", _shape(logits_scaling=4.0)),  # scales its logits after the head
    "olmoe": Architecture("OlmoeConfig", _shape(num_experts=4, num_experts_per_tok=2)),
    "mixtral": Architecture("MixtralConfig", _shape(num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
    "llama4": Architecture(  # three layers of four attend within chunks
        "Llama4TextConfig",
        _shape(
            head_dim=8,
            num_hidden_layers=4,
            intermediate_size_mlp=64,
            num_local_experts=2,
            num_experts_per_tok=1,
            attention_chunk_size=WINDOW,
        ),
        shares=False,
    ),
    "mamba": Architecture(
        "MambaConfig",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 4, "num_hidden_layers": 3, "pad_token_id": 0},
        shares=False,
    ),
    "rwkv": Architecture(
        "RwkvConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "attention_hidden_size": 32,
            "num_hidden_layers": 3,
            "context_length": CONTEXT,
        },
        shares=False,
    ),
    "t5": Architecture(
        "T5Config",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "pad_token_id": 0,
            "eos_token_id": 2,
            "decoder_start_token_id": 0,
        },
        shares=False,
        kind="AutoModelForSeq2SeqLM",
    ),
}


def build(name: str, *, seed: int = 0, **changes: Any) -> Any:
    """Returns a model of one of ARCHITECTURES with seeded random weights, in eval mode.

    changes: configuration arguments to replace. Raises KeyError for an unknown name.
    """
    import torch
    import transformers

    architecture = ARCHITECTURES[name]
    config = getattr(transformers, architecture.config)(**(architecture.settings | changes))
    torch.manual_seed(seed)
    model = getattr(transformers, architecture.kind).from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model.eval()


def load(name: str, *, seed: int = 0, max_length: int = CONTEXT, **changes: Any) -> Any:
    """Returns the LoadedModel of `build(name)`: no tokenizer, BOS 1, EOS 2."""
    import torch

    from harness.engine.loaded import LoadedModel

    return LoadedModel(
        model=build(name, seed=seed, **changes),
        tokenizer=None,
        device=torch.device("cpu"),
        max_length=max_length,
        prefix_token=1,
        eos_tokens=(2,),
    )


def each(select: Callable[[Architecture], bool] = lambda architecture: True) -> list[str]:
    """Returns the names of the architectures that `select` accepts, for `pytest.mark.parametrize`."""
    return [name for name, architecture in ARCHITECTURES.items() if select(architecture)]
