"""Answers that exist already: from a table of one's own, or from the logs of another tool.

    read_answers(path)  ->  answers by sample id, each with where it came from

Known by their content: sample logs of lm-evaluation-harness (`samples_*.jsonl`), logs of Inspect (`.eval`, `.json`),
result files of promptfoo (`.json`). Anything else is a table (CSV, TSV, JSONL, JSON, Parquet, Excel) with a column
`id` and a column `text` (or `logprobs`, a list in the order of the choices), and what is known of the rest of
`COLUMNS`. What a log does not tell is None. The judgement of the other tool is not taken over: answers are judged
again here.

Times of a log are kept apart from measured ones: those tools time requests while others run.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, HarnessError, beside, nearest
from harness.tasks.data.files import iter_rows
from harness.tasks.data.formats import DataSource
from harness.tasks.data.tables import first_line
from harness.values import Elapsed, Finish, Provider, Thinking

COLUMNS = (
    *("id", "text", "logprobs", "epoch", "turn", "error", "finish_reason", "input_tokens", "output_tokens"),
    *("ttft_s", "e2e_s", "usd", "model", "prompt"),
)
LENGTH = frozenset({"length", "max_tokens", "model_length", "MAX_TOKENS"})
ZSTD = 93  # zip method
MOST_BYTES = 1 << 30  # of one member of an archive, unpacked


ROUNDING = 1e-3  # nats above 0 that a log-probability may be by rounding
TOLD_NOTHING = Provider()
# what a file of another shape than its tool writes gives rise to
READING = (
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError, EOFError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer that was given earlier."""

    id: str  # of the sample
    text: str | None = None
    logprobs: tuple[float, ...] | None = None  # nats, in the order of the choices
    epoch: int = 0
    turn: int = 1  # of a conversation
    error: str | None = None
    finish: Finish | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    usd: float | None = None
    model: str | None = None  # as the log names it
    prompt: str | None = None
    thinking: Thinking | None = None
    elapsed: Elapsed | None = None
    provider: Provider = TOLD_NOTHING
    variant: str | None = None  # which of several prompts of one test it answers, as the log names it
    fields: Mapping[str, str] = field(default_factory=dict)  # what the log holds of its sample: name -> value


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a file, by (sample id, epoch, turn), and the tool that wrote it."""

    origin: str
    by_sample: Mapping[tuple[str, int, int], Recorded]


def read_answers(
    path: str | Path,
    *,
    id: str | None = None,
    text: str | None = None,
    model: str | None = None,
    prompt: str | None = None,
) -> Answers:
    """Returns the answers in a file.

    `id` and `text` name the columns of a table. For lm-eval, `id` is a field of the document, for promptfoo a variable
    (default: their position). For Inspect, `id: position` numbers the samples from 0 as a task without ids does;
    Inspect itself counts from 1. `model` picks one model of a log that holds several, `prompt` one prompt. Raises
    DataError for a file that cannot be read as any of these, holds two answers to one sample, or holds several models
    or prompts and none is picked.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no file with recorded answers", where=str(path), fix=nearest(path.name, beside(path)))
    try:
        origin, found = _read(path, id, text)
        answers = list(found)
        answers = [_figures(answer) for answer in answers]
    except HarnessError:
        raise
    except READING as error:
        raise DataError(
            f"the recorded answers cannot be read: {type(error).__name__}: {first_line(error):.200}",
            where=str(path),
            fix="give a table with the columns id and text, or the log as its tool wrote it",
        ) from error
    answers = _picked(answers, "model", model, lambda answer: answer.model, path)
    answers = _picked(answers, "prompt", prompt, lambda answer: answer.variant, path)
    return Answers(origin, _by_sample(answers, path))


def _picked(
    answers: list[Recorded], key: str, wanted: str | None, of: Callable[[Recorded], str | None], path: Path
) -> list[Recorded]:
    """Returns the answers of the one model, or to the one prompt, that a person named or that there is."""
    there = sorted({name for answer in answers if (name := of(answer)) is not None})
    if wanted is not None and wanted not in there:
        raise DataError(f"no answers of {key} '{wanted}'", where=str(path), fix=nearest(wanted, there))
    if wanted is None and len(there) > 1:
        named = ", ".join(f"'{name:.60}'" for name in there[:6])
        fix = f'name one in the entry of the model, as {key}: "{there[0]:.60}"'
        if key == "prompt":
            fix = f'name one: script: {{file: {path.name}, prompt: "{there[0]:.60}"}}'
        raise DataError(f"answers of {len(there)} {key}s: {named}", where=str(path), fix=fix)
    return [answer for answer in answers if wanted in (None, of(answer))]


def _figures(answer: Recorded) -> Recorded:
    """Returns an answer whose figures are such. Raises ValueError for one that is no number, negative or not finite."""
    seconds = () if answer.elapsed is None else (answer.elapsed.e2e_s,)
    thought = () if answer.thinking is None else (answer.thinking.tokens,)
    counts = (answer.input_tokens, answer.output_tokens, answer.provider.cached_tokens, *thought)
    for figure in (*counts, answer.ttft_s, answer.e2e_s, answer.usd, *seconds):
        if figure is not None and not (isinstance(figure, int | float) and math.isfinite(figure) and figure >= 0):
            raise ValueError(f"sample {answer.id:.60} has the figure {figure!r:.60}")
    if any(figure is not None and figure != int(figure) for figure in counts):
        raise ValueError(f"sample {answer.id:.60} has a part of a token")
    if any(math.isnan(value) or value > ROUNDING for value in answer.logprobs or ()):
        raise ValueError(f"sample {answer.id:.60} has a log-probability that is none")
    for text in (answer.text, answer.error, answer.prompt, answer.model, answer.provider.refusal):
        if text is not None and not isinstance(text, str):
            raise ValueError(f"sample {answer.id:.60} has {text!r:.60} where a text stands")
    return answer


def _by_sample(answers: Iterable[Recorded], path: Path) -> dict[tuple[str, int, int], Recorded]:
    found: dict[tuple[str, int, int], Recorded] = {}
    for answer in answers:
        if (answer.id, answer.epoch, answer.turn) in found:
            raise DataError(
                f"two answers to sample {answer.id}",
                where=str(path),
                fix="keep one of them, or tell them apart by a column `epoch` or `turn`",
            )
        found[answer.id, answer.epoch, answer.turn] = answer
    if not found:
        raise DataError("no recorded answers", where=str(path), fix="give a file that holds some")
    return found


def _read(path: Path, id: str | None, text: str | None) -> tuple[str, Iterable[Recorded]]:
    if path.suffix == ".eval":
        return _inspect(*_inspect_archive(path), id)
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and {"eval", "samples"} <= content.keys():
            return _inspect(content, content["samples"] or [], id)
        if isinstance(content, dict) and isinstance(content.get("results"), dict):
            return f"promptfoo {_version(content)}", (_promptfoo(one, id) for one in content["results"]["results"])
    rows = list(iter_rows(path, DataSource(file=path.name)))
    if rows and {"doc_id", "resps"} <= rows[0].keys():
        return "lm-evaluation-harness", _lm_eval(rows, id)
    if rows and {"testIdx", "response", "vars"} <= rows[0].keys():
        return "promptfoo", (_promptfoo(row, id) for row in rows)
    return "recorded", _table(rows, path, id or "id", text or "text")


def _table(rows: list[dict[str, Any]], path: Path, id: str, text: str) -> Iterator[Recorded]:
    known = set(rows[0]) if rows else set()
    for column in (id, text):
        if column not in known and not (column == "text" and "logprobs" in known):
            raise DataError(
                f"no column '{column}' in the recorded answers",
                where=str(path),
                fix=nearest(column, known) + "; or name yours: script: {file: ..., id: ..., text: ...}",
            )
    read = {id, text, *COLUMNS}
    for row in rows:
        logprobs = row.get("logprobs")
        logprobs = json.loads(logprobs) if isinstance(logprobs, str) and logprobs else logprobs
        yield Recorded(
            id=str(row[id]).strip(),
            text=_text(row.get(text)),
            logprobs=tuple(map(float, logprobs)) if logprobs else None,
            epoch=_number(row.get("epoch"), int) or 0,
            turn=_number(row.get("turn"), int) or 1,
            error=_text(row.get("error")) or None,
            finish=_finish(row.get("finish_reason")),
            input_tokens=_number(row.get("input_tokens"), int),
            output_tokens=_number(row.get("output_tokens"), int),
            ttft_s=_number(row.get("ttft_s"), float),
            e2e_s=_number(row.get("e2e_s"), float),
            usd=_number(row.get("usd"), float),
            model=_text(row.get("model")) or None,
            prompt=_text(row.get("prompt")) or None,
            fields=_fields({name: value for name, value in row.items() if name == "prompt" or name not in read}),
        )


def _fields(held: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a log holds of a sample as texts; what is nested is not looked for in a prompt."""
    return {name: str(value) for name, value in held.items() if isinstance(value, str | int | float) and value != ""}


def _lm_eval(rows: Iterable[Mapping[str, Any]], id: str | None) -> Iterator[Recorded]:
    """A document stands once for each filter: they share what the model said, and the first is read."""
    seen = set()
    for row in rows:
        if row["doc_id"] in seen:
            continue
        seen.add(row["doc_id"])
        name = row["doc_id"] if id is None else row["doc"][id]
        said = [several[0] for several in row["resps"]]
        given = row.get("arguments")
        first: Any = next(iter(given.values()), {}) if isinstance(given, dict) else {}
        scored = isinstance(said[0], list | tuple)
        yield Recorded(
            id=str(name),
            text=None if scored else str(said[0]),
            logprobs=tuple(float(value[0]) for value in said) if scored else None,
            prompt=_text(first.get("arg_0")),
            provider=Provider(digests={k: str(row[k]) for k in ("doc_hash", "prompt_hash") if row.get(k) is not None}),
            fields=_fields(row["doc"]) if isinstance(row.get("doc"), dict) else {},
        )


def _inspect(
    header: Mapping[str, Any], samples: Iterable[Mapping[str, Any]], id: str | None
) -> tuple[str, Iterable[Recorded]]:
    about = header["eval"]
    release = (about.get("packages") or {}).get("inspect_ai", "")
    places = {str(name): str(i) for i, name in enumerate(about["dataset"].get("sample_ids") or [])}
    names = places if id == "position" else {}
    return f"Inspect {release}".strip(), (_inspect_sample(sample, about["model"], names) for sample in samples)


def _inspect_sample(sample: Mapping[str, Any], model: str, names: Mapping[str, str]) -> Recorded:
    output = sample.get("output") or {}
    choice = next(iter(output.get("choices") or []), None) or {}
    used, attached = output.get("usage") or {}, sample.get("attachments") or {}
    stop, error = choice.get("stop_reason"), sample.get("error")
    asked = sample.get("input")
    if isinstance(asked, list):
        asked = "\n".join(_content(turn.get("content"), attached) for turn in asked)
    provider = Provider(
        model_version=output.get("model"),
        refusal=stop if stop == "content_filter" else None,
        cached_tokens=used.get("input_tokens_cache_read"),
    )
    thought, seconds = used.get("reasoning_tokens"), output.get("time")
    if error is None and not choice:
        error = {"message": "no answer in the log"}
    return Recorded(
        id=names.get(str(sample["id"]), str(sample["id"])),
        text=None if error else _content((choice.get("message") or {}).get("content"), attached),
        epoch=int(sample.get("epoch") or 1) - 1,
        error=str(error.get("message")) if error else None,
        finish=_finish(stop),
        input_tokens=used.get("input_tokens"),
        output_tokens=used.get("output_tokens"),
        usd=used.get("total_cost"),
        model=model,
        prompt=_content(asked, attached),
        thinking=None if thought is None else Thinking(tokens=thought),
        elapsed=None if seconds is None else Elapsed(e2e_s=seconds),
        provider=provider,
        fields=_fields({**(sample.get("metadata") or {}), "input": _content(asked, attached)}),
    )


def _content(content: Any, attachments: Mapping[str, str]) -> str:
    """Returns the text of a message, which is a text or a list of parts; long ones may be kept as attachments."""
    if isinstance(content, list):
        return "".join(_content(part.get("text"), attachments) for part in content if part.get("type") == "text")
    text = content or ""
    return attachments.get(text.removeprefix("attachment://"), text) if text.startswith("attachment://") else text


def _inspect_archive(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        opening = "header.json" if "header.json" in names else "_journal/start.json"  # the run was not finished
        header = json.loads(_member(archive, opening))
        samples = [json.loads(_member(archive, name)) for name in names if name.startswith("samples/")]
    return header, iter(samples)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns one file of an archive; Inspect packs with a method that Python reads from 3.14 on."""
    info = archive.getinfo(name)
    if info.file_size > MOST_BYTES:
        raise ValueError(f"{name} holds {info.file_size} bytes, more than {MOST_BYTES}")
    if info.compress_type != ZSTD:
        return archive.read(info)
    try:
        import zstandard
    except ImportError:
        raise DataError(
            "this log is packed with zstd",
            where=str(archive.filename),
            fix="pip install zstandard, or write it as JSON: inspect log convert --to json",
        ) from None
    file = archive.fp
    assert file is not None  # it is open
    file.seek(info.header_offset + 26)
    lengths = file.read(4)
    file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
    packed = file.read(info.compress_size)
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=info.file_size)


def _promptfoo(result: Mapping[str, Any], id: str | None) -> Recorded:
    held = result.get("vars") or {}
    response = result.get("response") or {}
    used = response.get("tokenUsage") or {}
    output = response.get("output")
    error = None if output is not None else str(result.get("error") or response.get("error") or "no output in the log")
    provider = result.get("provider") or {}
    prompt = result.get("prompt") or {}
    cached = bool(response.get("cached"))  # then the time is that of reading the cache, and nothing was paid
    told = Provider(
        refusal=response.get("refusal") or (response.get("guardrails") or {}).get("reason") or None,
        cached_tokens=used.get("cached") or None,
        from_cache=cached,
    )
    known = not cached and result.get("latencyMs") is not None
    return Recorded(
        id=str(result["testIdx"] if id is None else held[id]).strip(),
        text=None if error else output if isinstance(output, str) else json.dumps(output, ensure_ascii=False),
        epoch=int(result.get("repeatIndex") or 0),
        error=error,
        finish=_finish(response.get("finishReason")),
        input_tokens=used.get("prompt"),
        output_tokens=used.get("completion"),
        usd=None if cached else response.get("cost"),
        model=str(provider.get("label") or provider.get("id")) if provider else None,
        prompt=_text(prompt.get("raw")),
        elapsed=Elapsed(e2e_s=result["latencyMs"] / 1000) if known else None,
        provider=told,
        variant=_text(prompt.get("label")),
        fields=_fields(held),
    )


def _version(content: Mapping[str, Any]) -> str:
    return str((content.get("metadata") or {}).get("promptfooVersion") or "")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any, kind: Callable[[Any], Any]) -> Any:
    """Returns a cell as a number; an empty one is unknown."""
    return None if value is None or value == "" else kind(float(value))


def _finish(reason: Any) -> Finish | None:
    if not reason:
        return None
    return "length" if reason in LENGTH else "stop"
