"""What each column of a table is for: input, answer, choices, id, cluster, split.

Guessed from the names of the columns first, then from what stands in them.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import ConfigError, DataError, nearest
from harness.scoring.cells import Row
from harness.scoring.plain_text import fold
from harness.scoring.value_text import text_of as as_text
from harness.tasks.authoring.words import row_list
from harness.tasks.data.columns import Column
from harness.tasks.data.formats import suffix_of
from harness.tasks.data.lazy import picked
from harness.tasks.data.passages import texts_in
from harness.tasks.task import LETTERS

MOST_LABELS = 200  # more distinct answers than this are no list of choices
LONGEST_LABEL = 80  # characters

# Names of columns, likeliest first; folded, words joined by _. Those of other languages follow the English ones.
ANSWERS: tuple[str, ...] = (
    *("expected", "answer", "answers", "expected_output", "expected_answer", "target", "targets", "gold", "gold_label"),
    *("final_label", "label", "labels", "correct", "correct_answer", "correct_option", "answerkey", "ground_truth"),
    *("reference_answer", "best_answer", "reference", "ideal", "output", "completion", "continuation", "response"),
    *("solution", "canonical_solution", "slots", "entities", "fields", "category", "class", "intent", "team", "topic"),
    *("sentiment", "truth", "summary", "translation", "result", "sql", "sql_query"),
    *("antwort", "lösung", "kategorie", "klasse", "abteilung", "zuständig", "thema", "stimmung", "ergebnis", "etikett"),
    *("réponse", "reponse", "étiquette", "catégorie", "categorie", "classe", "équipe", "service", "sujet", "résultat"),
    *("respuesta", "etiqueta", "categoría", "categoria", "clase", "equipo", "tema", "resultado"),
    *("risposta", "etichetta", "argomento", "risultato", "resposta", "rótulo", "antwoord", "categorie", "svar"),
    *("回答", "答え", "正解", "ラベル", "カテゴリ", "カテゴリー", "分類", "部署", "担当", "担当部署", "感情"),
    *("答案", "标签", "標籤", "类别", "類別", "分类", "意图", "정답", "답변", "라벨", "분류"),
)
ENDINGS = {"answer", "label", "target", "decision", "verdict", "category", "class", "intent", "sentiment", "antwort"}
INPUTS: tuple[str, ...] = (
    *("question", "query", "prompt", "input", "ticket", "message", "utterance", "problem", "instruction", "text"),
    *("sentence", "context", "ctx", "review", "comment", "claim", "email", "body", "description", "document"),
    *("passage", "article", "content", "source", "tokens", "user_input"),
    *("frage", "anfrage", "nachricht", "eingabe", "aufgabe", "beschreibung", "satz", "bewertung", "dokument"),
    *("texte", "demande", "énoncé", "phrase", "avis", "pregunta", "consulta", "texto", "mensaje", "frase"),
    *("domanda", "testo", "messaggio", "pergunta", "mensagem", "vraag", "bericht", "tekst", "spørgsmål"),
    *("質問", "問い合わせ", "問い合わせ内容", "本文", "内容", "テキスト", "文章", "文", "入力"),
    *("问题", "問題", "文本", "正文", "输入", "질문", "문의", "본문", "내용", "텍스트"),
)
BESIDE = {"context", "ctx", "passage", "document", "article", "paragraph", "background"}
BESIDE |= {"premise", "hypothesis", "title", "subject", "history", "schema"}  # shown with the main input
BESIDE |= {"betreff", "titel", "kontext", "objet", "titre", "contexte", "asunto", "contexto", "件名", "文脈"}
CLASSES = {"label", "labels", "class", "category", "gold", "rating", "grade", "stars", "score"}
IDS = re.compile(r"(_?id|_?key|uid|uuid|guid|ind|idx|index|ref|number|nr|no|\w+_(id|key|index|no|nr))")
CLUSTERS = re.compile(
    r"(user|customer|client|account|patient|session|conversation|thread|document|doc|group|question|article|passage"
    r"|author|speaker|case|template|subject|company|shop|vendor|page|file)(_?(id|index|no|nr|number|name|key))?"
)
NO_ANSWERS = {"n/a", "#n/a", "n.a.", "-", "--", "–", "—", "?", "k.a.", "k. a.", "null", "nan", "tbd", "なし", "無"}
CODE = re.compile(r"(?=.*\d)[A-Za-z0-9][\w./#-]{0,39}")  # what names a row without being a word
OFTEN = 0.8  # of the rows: a column that is filled less often is hardly the answer
PASSAGE = 25  # characters: the items of a list that are longer are texts to read
LOOKED_AT = 200  # rows in which passages are looked for
TEST_SPLITS = ("test", "testing", "eval", "validation", "valid", "val", "dev")


@dataclass(frozen=True, slots=True)
class Roles:
    """What each column is for. `inputs` in the order in which the prompt shows them."""

    inputs: tuple[str, ...]
    answer: str
    id: str | None = None
    cluster: str | None = None
    split: str | None = None  # the value of column `split` that is asked about
    choices: tuple[str, ...] = ()  # one column that holds lists, or several that hold a choice each


def split_of(columns: Sequence[Column], path: Path, told: str | None) -> str | None:
    """Returns which value of a column `split` is asked about, None without such a column.

    Raises ConfigError for one that is told and not there.
    """
    column = next((c for c in columns if c.name == "split" and c.kind == "text" and not c.empty), None)
    if told is not None and (column is None or told not in column.counts):
        what = f"--split names '{told}', and the file has no column 'split' with it"
        raise ConfigError(what, where=str(path), fix=nearest(told, column.counts) if column else "leave it out")
    if told is not None or column is None or (column.distinct or 0) > 10:
        return told
    known = [name for name in TEST_SPLITS if name in column.counts]
    return known[0] if known else min(column.counts, key=lambda name: column.counts[name])


def is_test(split: str) -> bool:
    """Returns whether a split is one to be asked about, by its name."""
    return any(word in TEST_SPLITS for word in re.split(r"[\W_]+", split.casefold()))


def asked_of(rows: Sequence[Row], split: str | None) -> Sequence[Row]:
    """Returns the rows of the split that is asked about, all without one."""
    return rows if split is None else picked(rows, lambda row: row.get("split") == split)


def key_of(name: str) -> str:
    """Returns the name of a column as the tables here have it: folded, words joined by _."""
    return fold(name).replace(" ", "_")


@dataclass(frozen=True, slots=True)
class Told:
    """Columns that a person names. None: it is guessed; "": there is none."""

    input: str | None = None
    answer: str | None = None
    id: str | None = None
    cluster: str | None = None


def guess(
    columns: Sequence[Column], rows: Sequence[Row], path: Path, told: Told, split: str | None
) -> tuple[Roles, tuple[str, ...]]:
    """Returns what the columns are for, and further columns that could be the answer as well."""
    input, answer, id, cluster = told.input, told.answer, told.id, told.cluster
    by_name = {column.name: column for column in columns}
    free = [c for c in columns if c.kind != "empty" and not (split is not None and c.name == "split")]
    if id is None:
        id = next((c.name for c in free if _is_id(c) and c.name not in (input, answer)), None)
    usable = [c for c in free if c.name != id and c.name != input]
    answers = _answers(usable, rows)
    first = columns[0].name
    coded = _is_code(columns[0]) and not is_assertion((answers or [""])[0])
    if id is None and answers and first not in (input, answer, answers[0]) and coded:
        id = first
        answers = [name for name in answers if name != id]
    if answer is None:
        if not answers and suffix_of(path).startswith(".txt"):
            fix = "if it holds a table, name it .csv or .tsv; how likely a text is: `kind: perplexity` in a task file"
            raise DataError("a plain text holds no questions and answers", where=str(path), fix=fix)
        if not answers:
            fix = "name it: --answer COLUMN; the columns are " + ", ".join(list(by_name)[:12])
            raise DataError("no column looks like an answer", where=str(path), fix=fix)
        answer = answers[0]
    choices = _choices(columns, rows, answer, path)
    others = tuple(name for name in answers if name != answer and not choices)
    taken = {answer, id, *choices}
    left = [c for c in free if c.name not in taken]
    inputs = (input,) if input else _inputs(left, is_assertion(answer), rows)
    if not inputs:
        fix = "name it: --input COLUMN; the columns are " + ", ".join(list(by_name)[:12])
        raise DataError("no column is left that could be the input", where=str(path), fix=fix)
    unusable = next((name for name in inputs if re.search(r"[{}\n]", name)), None)
    if unusable is not None:
        what = f"column {unusable!r} cannot stand in a prompt"
        raise DataError(what, where=str(path), fix="rename it without braces and line breaks")
    if cluster is None:
        cluster = next((c.name for c in free if c.name not in {*taken, *inputs} and _is_cluster(c)), None)
    return Roles(tuple(inputs), answer, id or None, cluster or None, split, choices), others


def _is_id(column: Column) -> bool:
    return column.unique and _is_named_id(column)


def _is_code(column: Column) -> bool:
    """Returns whether a column, whatever it is called, numbers the rows or gives each a code of its own."""
    if not column.unique or column.filled < 4 or column.kind not in ("text", "number") or not column.counts:
        return False
    named = key_of(column.name) in INPUTS or key_of(column.name) in ANSWERS
    return not named and all(CODE.fullmatch(text.strip()) for text in column.counts)


def _is_named_id(column: Column) -> bool:
    short = column.longest <= 80 and column.kind in ("text", "number")
    return short and IDS.fullmatch(key_of(column.name)) is not None


def almost_id(column: Column) -> bool:
    """Returns whether a column names the rows but for a few that stand twice or are empty."""
    nearly = column.distinct is not None and 0.9 * (column.filled + len(column.empty)) <= column.distinct
    return nearly and not column.unique and _is_named_id(column)


def _is_cluster(column: Column) -> bool:
    repeated = not column.empty and column.distinct is not None and 1 < column.distinct < column.filled
    return repeated and CLUSTERS.fullmatch(key_of(column.name)) is not None


def is_label(column: Column) -> bool:
    """Returns whether a column holds a few short values that repeat."""
    few = column.distinct is not None and 2 <= column.distinct <= min(MOST_LABELS, max(2, column.filled / 2))
    return few and column.longest <= LONGEST_LABEL and column.kind in ("text", "number", "yes/no")


def is_assertion(name: str) -> bool:
    """Returns whether a column holds promptfoo's assertions."""
    return re.fullmatch(r"__expected1?", name) is not None


def _answers(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Returns the columns that could be the answer, likeliest first.

    By their names where one is known, else by few short values; one that is empty in most rows comes last.
    """
    exact = [c.name for c in columns if is_assertion(c.name)]
    if exact:
        return exact[:1]
    beside = _labels_of_passages(columns, rows)
    labels = {c.name for c in columns if is_label(c) and not _is_cluster(c) and key_of(c.name) not in INPUTS}
    places = {column.name: place for place, column in enumerate(columns)}

    def sort(column: Column) -> int | None:
        key = key_of(column.name)
        if key in ANSWERS:
            return 0
        ends = key.rpartition("_")[2] in ENDINGS
        return (1 if ends else 2) if column.name in labels else 3 if ends else None

    def likely(column: Column) -> tuple[object, ...]:
        key, filled = key_of(column.name), round(column.filled / max(1, len(rows)), 1)
        named = ANSWERS.index(key) if key in ANSWERS else 0
        # what was added to a table stands to the right; a class is a word sooner than a number
        return filled < OFTEN, sort(column), named, -filled, column.kind == "number", -places[column.name]

    found = sorted((c for c in columns if sort(c) is not None and c.name not in beside), key=likely)
    if found:
        most = sort(found[0])
        return [c.name for c in found if (sort(c) == 2) == (most == 2) and (most == 3 or sort(c) != 3)]
    rest = [c.name for c in columns if key_of(c.name) not in INPUTS and c.name not in beside]
    return rest[-1:] if len(columns) == 2 else []


def _labels_of_passages(columns: Sequence[Column], rows: Sequence[Row]) -> set[str]:
    """Returns the columns whose lists are as long, in every row, as the list of passages in another column."""
    lists = [c.name for c in columns if c.kind == "list"]
    looked = list(islice(rows, LOOKED_AT)) if len(lists) > 1 else []
    sizes = {name: [len(_items(row.get(name))) for row in looked] for name in lists}
    passages = {name for name in lists if _is_read(looked, name)}
    return {
        name for name in lists if name not in passages and any(sizes[name] == sizes[other] != [] for other in passages)
    }


def _items(value: Any) -> list[Any]:
    found = _list(value) if isinstance(value, str) else value
    return found if isinstance(found, list) else []


def _is_read(rows: Iterable[Row], name: str) -> bool:
    """Returns whether a column of lists or objects holds texts to read: most of its items are longer than words."""
    items = [text for row in islice(rows, LOOKED_AT) for text in texts_in(row.get(name))]
    return bool(items) and median(map(len, items)) >= PASSAGE


def _inputs(columns: Sequence[Column], every: bool, rows: Sequence[Row]) -> tuple[str, ...]:
    if every:  # the variables of a promptfoo test
        return tuple(c.name for c in columns if not c.name.startswith("__"))
    n = len(rows)
    nested = [c.name for c in columns if c.kind in ("list", "object") and len(c.empty) < n / 2]
    passages = [name for name in nested if _is_read(rows, name)]
    named = sorted((c for c in columns if key_of(c.name) in INPUTS), key=lambda c: INPUTS.index(key_of(c.name)))
    named = sorted(named, key=lambda c: (c.filled < n / 2, c.name in passages))
    texts = sorted((c for c in columns if c.kind == "text"), key=lambda c: (c.filled < n / 2, -c.words, -c.longest))
    main = next(iter([*named, *texts, *columns]), None)
    if main is None:
        return ()
    beside = [
        c.name
        for c in columns
        if c is main or (key_of(c.name) in BESIDE and c.kind == "text" and len(c.empty) < n / 2 and not is_label(c))
    ]
    return (*(name for name in passages if name != main.name), *beside)  # what is read stands before what is asked


def _choices(columns: Sequence[Column], rows: Sequence[Row], answer: str, path: Path) -> tuple[str, ...]:
    """Returns the column of lists, or the columns of single choices, among which every answer is found."""
    lists = [(c.name,) for c in columns if c.kind == "list" and c.name != answer]
    for names in (*lists, *_numbered(columns, answer)):
        if answer_is(rows, answer, names) is not None:
            return names
        pairs = ((row.get(answer), offered(row, names)) for row in rows)
        if all(options is not None and _from_one(value, len(options)) for value, options in pairs):
            raise DataError(
                f"the answers in column '{answer}' count from 1",
                where=str(path),
                fix="write the letter (A is the first), the choice itself, or count from 0",
            )
    return ()


def _from_one(value: Any, n: int) -> bool:
    text = as_text(value).strip()
    return text.isdecimal() and 1 <= int(text[:9]) <= n


def _numbered(columns: Sequence[Column], answer: str) -> list[tuple[str, ...]]:
    """Returns groups of columns such as A B C D, ans0 ans1, "Option 1" "Option 2"."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    pattern = re.compile(r"(?i)((?:option|choice|answer|ans|opt|alternative)?[ _-]?)([a-z]|\d\d?)")
    for column in columns:
        if column.name != answer and (match := pattern.fullmatch(column.name)):
            groups[match[1].lower()][match[2].upper()] = column.name
    found = []
    for marks in groups.values():
        for row in (LETTERS, [str(i) for i in range(26)], [str(i) for i in range(1, 27)]):
            names = []
            for mark in row:
                if mark not in marks:
                    break
                names.append(marks[mark])
            if len(names) >= 2 and len(names) == len(marks):
                found.append(tuple(names))
    return found


def offered(row: Row, names: Sequence[str]) -> list[str] | None:
    """Returns the choices of a row: the list in one column, or the cells of several; None if it has none."""
    values: Any
    if len(names) > 1:
        values = [row.get(name) for name in names]
    else:
        value = row.get(names[0])
        values = parsed if isinstance(value, str) and (parsed := _list(value)) is not None else value
    if not isinstance(values, list) or len(values) < 2:
        return None
    plain = all(isinstance(one, str | int | float) and as_text(one) for one in values)
    return [str(one) for one in values] if plain else None


def _list(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def answer_is(rows: Sequence[Row], answer: str, names: Sequence[str]) -> str | None:
    """Returns how the answers name one of the choices: "text", "letter" or "index"; None if they do not."""
    ways: dict[str, Callable[[str, list[str]], bool]] = {
        "text": lambda text, options: text in options,
        "letter": lambda text, options: len(text) == 1 and 0 <= LETTERS.find(text.upper()) < len(options),
        "index": lambda text, options: text.isdecimal() and int(text[:9]) < len(options),
    }
    numbers = True
    for row in rows:
        options, value = offered(row, names), row.get(answer)
        if options is None or value is None or isinstance(value, list | dict | bool):
            return None
        numbers = numbers and isinstance(value, int)
        text = str(value).strip()
        ways = {name: fits for name, fits in ways.items() if fits(text, options)}
        if not ways:
            return None
    return next((name for name in ways if name == "index" or not numbers), None)


def unanswered(column: Column, rows: Sequence[Row]) -> dict[str, list[int]]:
    """Returns the rows without an answer, from 1, by what stands there: nothing, or a mark such as n/a in a few."""
    few = max(1, len(rows) // 20)
    marks = {text for text, count in column.counts.items() if text.strip().casefold() in NO_ANSWERS and count <= few}
    found = {"": list(column.empty)} if column.empty else {}
    for place, row in enumerate(rows, 1) if marks else ():
        if (text := as_text(row.get(column.name))) in marks:
            found.setdefault(text.strip(), []).append(place)
    return found


def refuse_gaps(column: Column, rows: Sequence[Row], path: Path, split: str | None) -> None:
    """Raises DataError if a row has no answer."""
    if column.empty:
        at = f"{path}, column '{column.name}'" + (f", split '{split}'" if split else "")
        what = f"{len(column.empty)} of {len(rows)} rows have no answer: {row_list(column.empty)}"
        fix = "leave them out with --drop-unanswered, or fill them in; or name another column: --answer COLUMN"
        raise DataError(what, where=at, fix=fix)
