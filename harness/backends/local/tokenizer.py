"""The tokenizer of a model folder, or of an adapter that has its own, and what of it is not done as it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.backends.local.templates import ChatTemplate
from harness.engine.tokens import Frame, frame_of
from harness.errors import HarnessError, ModelError
from harness.models.find import unreadable
from harness.models.info import chat_template, has_tokenizer


@dataclass(frozen=True, slots=True)
class OpenedTokenizer:
    """A tokenizer, the special tokens that stand before a text, and by part what is done otherwise than it says."""

    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    frame: Frame
    otherwise: dict[str, str] = field(default_factory=dict)

    @property
    def prefix_token(self) -> int | None:
        """Returns what an empty text becomes: BOS, else EOS."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        found: int | None = bos if bos is not None else eos
        return found


def open_tokenizer(folder: Path, adapter: Path | None = None, *, trusted: bool = False) -> OpenedTokenizer:
    """Returns the tokenizer of a model. An adapter's own goes before it, as does its chat template.

    The network is never asked. Raises ModelError for one that cannot be opened, or that numbers tokens otherwise.
    """
    with told_of(folder):
        tokenizer = _opened(folder, trusted)
    otherwise: dict[str, str] = {}
    if adapter is not None:
        with told_of(adapter):
            tokenizer = _with_adapter(tokenizer, folder, adapter, otherwise)
    with told_of(folder):
        frame = frame_of(tokenizer)
        if frame.ending:
            named = " and ".join(frame.ending)
            otherwise["tokenizer"] = f"it ends every text with {named}, which is taken off prompts and scored texts"
        if frame.twice is not None:
            otherwise["bos"] = f"the tokenizer opens every text with {frame.twice} twice: one is taken off"
        template = ChatTemplate(tokenizer)
        if template.dated:
            otherwise["chat_template"] = f"it asks for today's date and is told {template.today.isoformat()}, every day"
    return OpenedTokenizer(tokenizer, frame, otherwise)


@contextmanager
def told_of(folder: Path) -> Iterator[None]:
    """Gives whatever a library makes of a folder's files as ModelError, their own panics too."""
    try:
        yield
    except HarnessError:
        raise
    except BaseException as error:
        # what tokenizers' own code gives up with is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise unreadable(folder, error) from error


def _opened(folder: Path, trusted: bool) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trusted)


def _with_adapter(tokenizer: Any, folder: Path, adapter: Path, otherwise: dict[str, str]) -> Any:
    """Returns the tokenizer that goes with an adapter."""
    if has_tokenizer(adapter):
        own, known = _opened(adapter, False), tokenizer.get_vocab()
        ids = own.get_vocab()
        moved = next((text for text, number in known.items() if ids.get(text, number) != number), None)
        if moved is not None or len(ids.keys() & known.keys()) < len(known) / 2:
            what = f"the adapter's tokenizer numbers tokens otherwise than the model's, as {str(moved)[:40]!r}"
            raise ModelError(what, where=str(adapter), fix="give the model that the adapter was trained on")
        if own.chat_template is None:
            own.chat_template = tokenizer.chat_template
        tokenizer, added = own, len(ids.keys() - known.keys())
        if added:
            otherwise["adapter_tokenizer"] = f"it is used, with {added} tokens that the model's has not"
    template = chat_template(adapter)
    if template is not None and template != chat_template(folder):
        tokenizer.chat_template = template
        otherwise["adapter_template"] = "it is used in place of the model's chat template"
    return tokenizer
