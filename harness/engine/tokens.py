"""Texts to token ids, each distinct text encoded once and in batches."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

log = logging.getLogger(__name__)
Ids = tuple[int, ...]
MANY = 256  # pairs from which on it pays to find out where texts can be cut
TRIED = 64  # pairs that are encoded both ways, beside the longest, before the fast way is trusted
# Places where texts may be cut, tried on every tokenizer before use; a match starts where the second piece does.
# Some tokenizers keep punctuation and the line's end together, none in use a letter or digit and what follows it here.
LINES = ("\n(?<=\\S\n)", "\n(?<=[A-Za-z0-9]\n)")
WORDS = " (?<=[A-Za-z0-9] )(?=[A-Za-z])"
LOOKS_BACK = re.compile(r"\(\?<[=!]|\\[bBAGKzZ]|\^|\$")  # outside of a character class
CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")


@dataclass(frozen=True, slots=True)
class ScoreSequence:
    """One context and continuation as token ids.

    ids: context + continuation, cut on the left to the last `max_length + 1` tokens; the model reads `ids[:-1]`
    and the last `n_scored` of `ids` are judged.
    """

    ids: tuple[int, ...]
    n_scored: int
    truncated_left: int = 0

    @property
    def scorable(self) -> bool:
        """Whether there is a token to judge, and one before it for the model to read."""
        return 0 < self.n_scored < len(self.ids)


@dataclass(frozen=True, slots=True)
class ScoredSequence:
    """What the model thinks of one ScoreSequence.

    logprob: sum over the scored tokens of ln p(token | before), nats. greedy: each was the most likely token.
    prefill_s: this sequence's share of the machine seconds of its batch; shares sum to the batch.
    error: set when the model could not read the sequence; logprob is then NaN. fallback: why the plain method scored
    it where the shared-prefix engine was wanted.
    """

    logprob: float
    greedy: bool
    prefill_s: float
    batch_size: int
    error: str | None = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens that a tokenizer puts around a text.

    opening: those before it, BOS once. ending: texts of those behind it, which would end the text before a model has
    read on: they are never put there. twice: the text of a BOS that it puts there twice.
    """

    opening: Ids = ()
    ending: tuple[str, ...] = ()
    twice: str | None = None


def frame_of(tokenizer: Any) -> Frame:
    """Returns what a tokenizer puts around a text, seen on a short one."""
    whole, bare = (list(tokenizer("a", add_special_tokens=special)["input_ids"]) for special in (True, False))
    start = next((at for at in range(len(whole) - len(bare) + 1) if whole[at : at + len(bare)] == bare), None)
    if start is None:  # it reads a text otherwise between special tokens: only these are looked at
        special_ids = set(tokenizer.all_special_ids)
        start = next((at for at, token in enumerate(whole) if token not in special_ids), len(whole))
        behind = [token for token in whole[start:] if token in special_ids]
    else:
        behind = whole[start + len(bare) :]
    opening, bos = whole[:start], getattr(tokenizer, "bos_token_id", None)
    once = [token for at, token in enumerate(opening) if token != bos or bos not in opening[:at]]
    ending = tuple(tokenizer.decode([token]) for token in behind)
    return Frame(tuple(once), ending, None if once == opening else tokenizer.decode([bos]))


def encode_texts(
    tokenizer: Any, texts: Iterable[str], *, prefix_token: int | None, opening: Ids = ()
) -> dict[str, list[int]]:
    """Returns the ids of each distinct text after those of `opening`, the special tokens that stand before a text.

    A text that opens with the prefix token itself, white space before it or not, gets no `opening`: no text gets a
    second BOS.
    """
    distinct = list(dict.fromkeys(texts))
    prefix = tokenizer.decode([prefix_token]) if prefix_token is not None else ""
    ids = _encode_bare(tokenizer, distinct)
    return {text: [*(() if _opens_itself(text, prefix) else opening), *ids[text]] for text in distinct}


def _opens_itself(text: str, prefix: str) -> bool:
    return bool(prefix) and text.lstrip().startswith(prefix)


def encode_pairs(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    max_length: int,
    prefix_token: int | None,
    opening: Ids = (),
) -> list[ScoreSequence]:
    """Returns one ScoreSequence for each (context, continuation).

    White space at the end of the context moves to the continuation. The context's ids are those it has alone; the
    continuation's are those of the whole text after as many ids, also where the tokenizer merges across the boundary
    and the two do not make up the whole text's ids. An empty context becomes the prefix token. Longer sequences than
    the model reads lose tokens on the left, BOS first. The same as lm-eval 0.4.13 `TemplateLM._encode_pair` and
    `loglikelihood`, but for special tokens behind a text: none is put there. Where the continuation has no token of its
    own, or fills the whole window, the result is not `scorable`.
    """
    split = [_move_white_space(context, continuation) for context, continuation in pairs]
    # An empty context gets the prefix token from us, so its continuation must not get another from the tokenizer.
    bare_texts = list(dict.fromkeys(text for (context, _), (_, text) in zip(pairs, split) if not context and text))
    bare = _encode_bare(tokenizer, bare_texts)
    asked = [pair for (given, _), pair in zip(pairs, split) if given]
    encoded = iter(_encode_split(tokenizer, asked, prefix_token=prefix_token, opening=opening))

    sequences = []
    for (given, _), (_, continuation) in zip(pairs, split):
        before, scored = next(encoded) if given else ((), bare.get(continuation, ()))
        if not before and prefix_token is not None:
            if scored and scored[0] == prefix_token:
                before, scored = scored[:1], scored[1:]
            else:
                before = (prefix_token,)
        ids = before + scored
        kept = ids[-(max_length + 1) :]
        sequences.append(ScoreSequence(ids=kept, n_scored=len(scored), truncated_left=len(ids) - len(kept)))
    return sequences


def _move_white_space(context: str, continuation: str) -> tuple[str, str]:
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _encode_bare(tokenizer: Any, texts: list[str]) -> dict[str, Ids]:
    """Returns the ids of each text, with no special token around it."""
    if not texts:
        return {}
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    return dict(zip(texts, map(tuple, encoded["input_ids"]), strict=True))


def _encode_split(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], *, prefix_token: int | None, opening: Ids
) -> list[tuple[Ids, Ids]]:
    """Returns the ids of each context, and those the whole text has after as many."""
    whole = partial(_encode_whole, tokenizer, prefix_token=prefix_token, opening=opening)
    cuts = _cuts(tokenizer) if len(pairs) >= MANY else None
    if cuts is None:
        return whole(pairs)
    made = _encode_pieces(tokenizer, pairs, cuts, prefix_token=prefix_token, opening=opening)
    tried = random.Random(0).sample(range(len(pairs)), min(TRIED, len(pairs)))
    tried.append(max(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1])))
    if [made[i] for i in tried] != whole([pairs[i] for i in tried]):
        log.info("the tokenizer reads pieces of texts otherwise than whole texts; it is given whole texts")
        return whole(pairs)
    return made


def _encode_whole(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], *, prefix_token: int | None, opening: Ids
) -> list[tuple[Ids, Ids]]:
    texts = [*(context for context, _ in pairs if context), *(context + text for context, text in pairs)]
    ids = encode_texts(tokenizer, texts, prefix_token=prefix_token, opening=opening)
    # Only white space before the continuation: lm-eval splits off what the tokenizer makes of an empty text.
    ids[""] = list(opening)
    return [(tuple(ids[context]), tuple(ids[context + text][len(ids[context]) :])) for context, text in pairs]


def _completes(context: str, continuation: str, prefix: str) -> bool:
    return not context or _opens_itself(context + continuation, prefix)


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Where a tokenizer reads the two pieces of a text as it reads the text: at line ends, before words."""

    lines: re.Pattern[str]
    words: re.Pattern[str] | None

    def pieces(self, context: str) -> list[str]:
        """Returns the context's lines, which other contexts often have too, and its last word or line by itself.

        A match of `lines` or `words` starts a piece. What is put behind the last piece changes none before it.
        """
        starts = [0, *(match.start() for match in self.lines.finditer(context))]
        if self.words is not None:
            place = context.rfind(" ", starts[-1] + 1)
            while place > 0 and not self.words.match(context, place):
                place = context.rfind(" ", starts[-1] + 1, place)
            starts += [place] if place > 0 else []
        return [context[start:end] for start, end in zip(starts, [*starts[1:], len(context)])]


def _encode_pieces(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], cuts: _Cuts, *, prefix_token: int | None, opening: Ids
) -> list[tuple[Ids, Ids]]:
    """Returns what `_encode_whole` does, each distinct piece encoded once."""
    prefix = tokenizer.decode([prefix_token]) if prefix_token is not None else ""
    pieces = {context: cuts.pieces(context) for context in dict.fromkeys(context for context, _ in pairs)}
    last = {context: parts[-1] for context, parts in pieces.items()}
    # Where only the continuation completes the prefix, the whole text gets no BOS though the context has one.
    odd = [i for i, (c, t) in enumerate(pairs) if len(c.lstrip()) < max(1, len(prefix)) and _completes(c, t, prefix)]
    texts = dict.fromkeys(piece for parts in pieces.values() for piece in parts)
    texts.update(dict.fromkeys(last[context] + text for context, text in pairs))
    # Called on the tokenizer itself, an empty text sets its Rust part to neither cut nor pad; that is asked directly
    # because the wrapper takes longer over a short text than encoding it does.
    tokenizer("", add_special_tokens=False, return_attention_mask=False)
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    ids = {text: tuple(one.ids) for text, one in zip(texts, encoded, strict=True)}

    before: dict[str, Ids] = {}
    for context, parts in pieces.items():
        joined = [] if _opens_itself(context, prefix) else list(opening)
        for piece in parts:
            joined += ids[piece]
        before[context] = tuple(joined)
    made = [(before[c], ids[last[c] + t][len(ids[last[c]]) :]) for c, t in pairs]
    for i, exact in zip(
        odd, _encode_whole(tokenizer, [pairs[i] for i in odd], prefix_token=prefix_token, opening=opening)
    ):
        made[i] = exact
    return made


def _cuts(tokenizer: Any) -> _Cuts | None:
    """Returns where texts can be cut, None where nothing says that they can.

    Read from the tokenizer's own description: BPE inside of what its expressions split off, which look at nothing
    before; no normalizer but one that white space stops; no added token over a cut.
    Then tried on texts with every kind of character before the cut and after.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.model).__name__ != "BPE" or backend.model.dropout or not backend.pre_tokenizer:
        return None
    try:
        steps = _steps(json.loads(backend.pre_tokenizer.__getstate__()))
        normalizer = json.loads(backend.normalizer.__getstate__())["type"] if backend.normalizer else None
    except Exception:  # the library raises no narrower one where a step is written in Python
        return None
    added = list(backend.get_added_tokens_decoder().values())
    over = any(
        re.search(r"\S\s", token.content) or (token.single_word and token.content[:1].isspace()) for token in added
    )
    normalized = normalizer is not None and any(token.normalized for token in added)
    if over or normalized or normalizer not in (None, "NFC") or not all(map(_is_local, steps)):
        return None
    lines = next((rule for rule in LINES if _holds(backend.pre_tokenizer, rule)), None)
    if lines is None:
        return None
    # Some added tokens take the white space behind them: no cut there.
    greedy = [token.content for token in added if token.rstrip]

    def guarded(rule: str) -> re.Pattern[str]:
        return re.compile(rule + "".join(f"(?<!{re.escape(content + rule[0])})" for content in greedy))

    return _Cuts(guarded(lines), guarded(WORDS) if _holds(backend.pre_tokenizer, WORDS) else None)


def _steps(described: dict[str, Any]) -> list[dict[str, Any]]:
    if described["type"] != "Sequence":
        return [described]
    return [step for part in described["pretokenizers"] for step in _steps(part)]


def _is_local(step: dict[str, Any]) -> bool:
    """Returns whether a pre-tokenizer begins anew at each of its pieces and joins none."""
    if step["type"] == "ByteLevel":
        return not step["add_prefix_space"]
    if step["type"] == "Split":
        kept_apart = step["behavior"] in ("Isolated", "Removed")
        return kept_apart and not LOOKS_BACK.search(CLASS.sub("", step["pattern"].get("Regex", "")))
    return step["type"] in ("Digits", "Punctuation") and step.get("behavior") in (None, "Isolated", "Contiguous")


def _holds(pre_tokenizer: Any, rule: str) -> bool:
    """Returns whether texts fall apart where `rule` says, into pieces that each read as they do alone."""
    ends = [*map(chr, range(33, 127)), *"éßя中ا९²½—“€😀\u200d", "e\u0301", "'s"]
    before = [start + end for start in ("", "b ", "12", "?! ") for end in ends]
    after = [
        rule[0] + text
        for text in ("", "a", "Bc d", "7 x", ".", "?!\n", "'s", " ", " e", "\n", "\n\nf", "\t\ng", "/", "中")
    ]

    def split(text: str) -> list[str]:
        return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]

    apart = {text: split(text) for text in (*before, *after)}
    return all(
        split(left + right) == apart[left] + apart[right]
        for left in before
        for right in after
        if re.search(rule, left[-1] + right)
    )
