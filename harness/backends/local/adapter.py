"""A PEFT adapter put into a model: each tensor of it is used and each part that it names is found, or it is refused."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import BackendError, ModelError
from harness.models.files import _weights, read_header
from harness.models.find import resolve_model
from harness.models.safety import check_safe

FIX = "give the model that the adapter was trained on, or get the adapter's files again"
EMBEDDINGS = re.compile(r"(embed_tokens|wte|word_embeddings|embed_in|embeddings|lm_head|embed_out)\.(?:.*\.)?weight$")


def find_adapter(adapter: str, name: str) -> Path:
    """Returns the folder of an adapter that is safe to load. Raises BackendError where PEFT is not installed."""
    if importlib.util.find_spec("peft") is None:
        where = f"model '{name}', adapter"
        raise BackendError("adapters need peft, which is not installed", where=where, fix="pip install peft")
    folder = resolve_model(adapter)
    check_safe(folder, adapter=True)
    return folder


def with_adapter(model: Any, folder: Path, vocabulary: int) -> Any:
    """Returns the model with the adapter's layers put into it: the same class, with the same signature.

    vocabulary: tokens of the tokenizer that goes with it. Raises ModelError for an adapter that does not fit wholly.
    """
    from peft import PeftConfig, PeftModel

    with _told(folder):
        config = PeftConfig.from_pretrained(str(folder))
        if config.is_prompt_learning:
            what = "the adapter adds virtual tokens to the prompt, which this backend cannot count"
            raise ModelError(what, where=str(folder), fix="use an adapter of the weights, such as LoRA")
        config.inference_mode = True
        _make_room(model, folder, vocabulary)
        parts = [name for name, _ in model.named_modules()]
        _refuse_unfound("modules_to_save", getattr(config, "modules_to_save", None), parts, folder)
        made: Any = PeftModel(model, config)
        _refuse_unfound("target_modules", config.target_modules, made.base_model.targeted_module_names, folder)
        loaded = made.load_adapter(str(folder), "default", is_trainable=False)
    unused, lacking = sorted(loaded.unexpected_keys), sorted(loaded.missing_keys)
    if unused:
        what = f"the model has no place for {len(unused)} tensors of the adapter, first {unused[0]}"
        raise ModelError(what, where=str(folder), fix=FIX)
    if lacking:
        what = f"the adapter lacks {len(lacking)} tensors of parts that it changes, first {lacking[0]}"
        raise ModelError(what, where=str(folder), fix=FIX)
    return made.get_base_model()


def _make_room(model: Any, folder: Path, vocabulary: int) -> None:
    """Makes the model's embeddings as long as the adapter's, where it brings some for tokens that it added."""
    rows = model.get_input_embeddings().weight.shape[0]
    heads = (read_header(file) for file in _weights(folder))
    longest = max((t["shape"][0] for h in heads for name, t in h.items() if EMBEDDINGS.search(name)), default=0)
    if longest > rows:
        model.resize_token_embeddings(longest, mean_resizing=False)
    if vocabulary > max(rows, longest):
        what = f"the adapter's tokenizer has {vocabulary} tokens, the model {rows}, and it brings no embeddings"
        raise ModelError(what, where=str(folder), fix="save the adapter with its embeddings (save_embedding_layers)")


def _refuse_unfound(key: str, wanted: object, found: Iterable[str], folder: Path) -> None:
    """Raises ModelError for a part that the adapter's settings name and the model does not have."""
    if not isinstance(wanted, list | tuple | set | frozenset):
        return  # an expression, or nothing; PEFT itself refuses one that finds nothing
    names = list(found)
    for part in sorted(map(str, wanted)):
        if not any(name == part or name.endswith(f".{part}") for name in names):
            what = f"the adapter changes '{part}' ({key}), which the model does not have"
            raise ModelError(what, where=f"{folder}/adapter_config.json", fix=FIX)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # whatever a library makes of an adapter's files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(f"the adapter does not fit the model: {reason}", where=str(folder), fix=FIX) from error
