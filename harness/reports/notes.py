"""The notes of a run as sentences: one function a code, so that another medium can word them its own way.

Long because each code has its sentence, and all stand in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.reports.busy_sentences import busy_machine, busy_pass
from harness.reports.house_rules import licence, policy, sealed, stated
from harness.store.schema import Note, NoteCode
from harness.values import Estimate

PAIR = "1 if better than the baseline's answer in both orders, 0 if worse in both, else 1/2; "
WARNINGS = {  # why a judged score is to be read with care
    NoteCode.VERDICTS_UNCHECKED: "nobody has checked its verdicts: one model's opinion "
    "(`human:` and `of:` in the rubric name people's)",
    NoteCode.VERDICTS_CHECKED_ON_FEW: "only {n} texts that people judged too, and {enough} are the fewest that say "
    "something",
    NoteCode.AGREEMENT_UNKNOWN: "its agreement with people cannot be told: {reason}",
    NoteCode.AGREEMENT_BY_CHANCE: "it agrees with people no better than chance would",
}


def sentence(note: Note) -> str:
    """Returns a note of a run as one line; of several runs in one table, with the numbers of those it is of."""
    runs = f"[{', '.join(map(str, note.runs))}] " if note.runs else ""
    return runs + _SENTENCES[note.code](note)


def why_incomplete(note: Note) -> str:
    """Returns why a row does not stand for its whole task, without the row's name."""
    return _REASONS[note.code](note)


def why_warned(note: Note) -> str:
    """Returns why a judged score is to be read with care, without the task's name."""
    return WARNINGS[note.code].format(**note.figures)


def _subject(note: Note) -> str:
    """Returns what a note is about: a model, a model on tasks, or tasks of every model."""
    model, tasks = note.subject.model, ", ".join(note.subject.tasks)
    return f"{model} on {tasks}" if model and tasks else model or tasks


# --- how a run was made, and what it cost ----------------------------------------------------------------------------


def _measured_on(note: Note) -> str:
    return f"Measured on {note.text('processor')}, {note.known('cores')} cores."


def _threads(note: Note) -> str:
    return f"{note.subject.model} computed with {note.known('threads')} threads on {note.known('cores')} cores."


def _machine_unknown(note: Note) -> str:
    return "Cost unknown: no machine given; add `machine: cloud-cpu` or --machine (see configs/machines)."


def _machine_price(note: Note) -> str:
    origin = f"{'assumed' if note.flag('assumed') else note.text('source')}, {note.text('date')}{_age(note)}"
    hour = note.known("usd_per_hour")
    cost = "unknown" if hour is None else f"${hour:.4g}/h"
    return (
        f"Cost: measured seconds x the price of '{note.text('machine')}' ({cost}; {origin}) at "
        f"{100 * note.number('utilisation'):.0f} % utilisation. "
        "It holds for the machine measured if that is the one priced."
    )


def _age(note: Note) -> str:
    """Returns how long before the run a price was read, beside its day; nothing where that was hardly a month."""
    days = note.known("age_days") or 0
    told = f", {days} days before this run" if days >= 30 else ""
    return f"{told}: OLD, look it up again" if note.flag("old") else told


def _list_price(note: Note) -> str:
    listed = f"{note.text('provider')}/{note.text('listed_as')}"
    origin = f"{note.text('source')}, {note.text('retrieved') or 'without a date'}{_age(note)}"
    return f"Cost of {note.subject.model}: its usage x the price of {listed} ({origin})."


def _paid(note: Note) -> str:
    usd, most = note.known("usd"), note.known("most_usd")
    if usd is not None:
        beside = note.known("beside_answers_usd")
        share = f" (${beside:.4f} of it for timed requests)" if beside else ""
        return f"Paid ${usd:.4f} to providers in all{share}."
    bound = "" if most is None else f", at most ${most:.4f}"
    cut = note.names("cut_off")
    why = "a sitting was cut off with requests under way" if cut else "not every usage or price is known"
    return f"Paid to providers: at least ${note.number('known_usd'):.4f}{bound}: {why}."


# --- rows ------------------------------------------------------------------------------------------------------------


def _worst_slice(note: Note) -> str:
    where = f"{note.text('column')} = {note.text('value')}"
    shares = f"{100 * note.number('accuracy'):.1f} % of {note.known('n')}, the rest {100 * note.number('rest'):.1f} %"
    chance = f"(Holm's p {note.number('p_holm'):.2g} among {note.known('compared')} slices)"
    return f"{_subject(note)}: worst slice is {where}: {shares} {chance}."


def _no_interval(note: Note) -> str:
    return f"{_subject(note)}: {', '.join(note.names('of'))} without an interval: {note.text('reason')}."


def _loss_unit(note: Note) -> str:
    always = f"always answering '{note.text('always_answer')}' would cost {note.number('always_value'):.2f}"
    return f"{_subject(note)}: the loss is in the unit of the task's costs; {always}."


def _energy(note: Note) -> str:
    joules, net, carbon = note.number("joules"), note.known("net_joules"), note.known("carbon_g")
    rest = "" if net is None else f", {100 * net / joules:.0f} % of it above rest"
    gas = "" if carbon is None else f", {carbon:.3g} g CO2"
    each = {"an output token": "j_per_output_token", "a sample": "j_per_sample", "a correct answer": "j_per_correct"}
    parts = [f"{part:.3g} J {name}" for name, key in each.items() if (part := note.known(key)) is not None]
    whole = f"{joules:.3g} J by {note.text('method')}{rest}{gas}"
    return f"{_subject(note)}: {'; '.join([whole, *parts])} (the whole device)."


def _truncated_prompts(note: Note) -> str:
    return f"{_subject(note)}: {note.known('n')} prompts cut on the left to fit the context."


def _samples_owed(note: Note) -> str:
    asked, expected = note.known("asked"), note.known("expected")
    return f"none of {expected} samples" if not asked else f"{asked} of {expected} samples"


def _errors_over_limit(note: Note) -> str:
    ended = f"{note.known('errors')} of {note.known('expected')} samples ended in an error"
    return f"{ended}, more than the {100 * note.number('allowed'):.0f} % allowed"


def _verdicts_owed(note: Note) -> str:
    return f"{note.known('owed')} of {note.known('verdicts')} verdicts of the judge are owed"


def _failed_verdicts(note: Note) -> str:
    failed = f"{note.known('failed')} of {note.known('verdicts')} verdicts of the judge ended in an error"
    return f"{failed}, more than the {100 * note.number('allowed'):.0f} % allowed"


_REASONS: Mapping[NoteCode, Callable[[Note], str]] = {
    NoteCode.SAMPLES_OWED: _samples_owed,
    NoteCode.ERRORS_OVER_LIMIT: _errors_over_limit,
    NoteCode.VERDICTS_OWED: _verdicts_owed,
    NoteCode.FAILED_VERDICTS_OVER_LIMIT: _failed_verdicts,
}


def _incomplete(note: Note) -> str:
    stopped = note.text("stopped")
    return f"INCOMPLETE: {_subject(note)}: {why_incomplete(note)}{f': {stopped}' if stopped else ''}."


def _transient(note: Note) -> str:
    failed = f"{note.known('n')} of {note.known('expected')} samples"
    return f"{_subject(note)}: {failed} failed and may succeed: --out with this folder."


def _rows_left_out(note: Note) -> str:
    named = ", ".join(f"'{_short(name)}'" for name in note.names("columns"))
    return f"{_subject(note)}: {_times(note.number('n'), 'row')} left out for what stands in {named} (`without`)."


def _never_first(note: Note) -> str:
    fix = "if they count from 1, write `answer_is: index_from_1`, if from 0 `answer_is: index`"
    return f"{_subject(note)}: none of {note.number('n'):,.0f} answers is place 0: {fix}."


def _parts_of_data(note: Note) -> str:
    return f"{_subject(note)}: {note.known('n')} of the {note.known('of')} sets of rows that it is made of, not all."


def _answers_respelled(note: Note) -> str:
    n = _times(note.number("n"), "right answer")
    return f"{_subject(note)}: {n} written in another case or with other blanks than the choice."


def _times(n: float, noun: str) -> str:
    return f"{n:,.0f} {noun}{' was' if n == 1 else 's were'}"


# --- what the responses tell -----------------------------------------------------------------------------------------


def _answered_as(note: Note) -> str:
    return f"{_subject(note)}: answered as {_counts(note.counts, note.known('n'))}."


def _recorded_answers(note: Note) -> str:
    origins = _counts(note.counts, note.known("n"))
    return f"{_subject(note)}: nothing was asked: answers from a file ({origins}), judged here."


def _answers_missing(note: Note) -> str:
    missing, samples = note.number("n"), note.names("samples")
    named = ", ".join(map(_short, samples))
    more = " and others" if missing > len(samples) else ""
    of = f"{note.known('n')} of {note.known('asked')} answers"
    return f"{_subject(note)}: {of} are missing from the file: of sample {named}{more}."


def _answers_matched(note: Note) -> str:
    pairs = zip(note.names("samples"), note.names("there"), strict=True)
    named = ", ".join(f"sample {_short(ours)} is {_short(theirs)} there" for ours, theirs in pairs)
    of = f"{note.known('n')} of {note.known('answers')} answers"
    return f"{_subject(note)}: {of} were found in the file by what was asked, not by their ids: {named}."


def _not_as_asked(note: Note) -> str:
    n, answers = note.known("n"), note.known("answers")
    share = "no answer" if n == answers else f"{n} of {answers} answers not"
    return f"{_subject(note)}: {share} with {note.text('parameter')} as the task asks: {note.text('why').rstrip('.')}."


def _handled_otherwise(note: Note) -> str:
    n, answers = note.known("n"), note.known("answers")
    share = "" if n == answers else f" ({n} of {answers} answers)"
    return f"{_subject(note)}: {note.text('setting').replace('_', ' ')}: {note.text('why').rstrip('.')}{share}."


def _plain_method(note: Note) -> str:
    n, answers = note.known("n"), note.known("answers")
    share = "all" if n == answers else f"{n} of {answers}"
    slow = "by the plain method, without shared prefixes: right, and slower"
    return f"{_subject(note)}: {share} answers {slow} ({note.text('why').rstrip('.')})."


def _loaded_otherwise(note: Note) -> str:
    return f"{_subject(note)}: {note.text('part').replace('_', ' ')}: {note.text('why').rstrip('.')}."


def _refusals(note: Note) -> str:
    kinds = ", ".join(f"{_short(kind)} ({count})" for kind, count in note.counts.items())
    of = f"{note.known('n')} of {note.known('answers')} answers"
    return f"{_subject(note)}: {of} are refusals by the provider's own signal: {kinds}."


def _token_counts(note: Note) -> str:
    of = f"the tokens of {note.known('n')} of {note.known('answers')} answers"
    return f"{_subject(note)}: {of} are {note.text('label')}."


def _no_answer_found(note: Note) -> str:
    texts = "; ".join(f'"{_short(text)}" ({count})' for text, count in note.counts.items())
    held = "`constrain: {labels: true}` in the task file, which holds answers to the labels, or a better prompt"
    remedy = "a better prompt" if note.flag("held") else held
    of = f"{note.known('n')} of {note.known('answers')} answers"
    return f"WARNING: {_subject(note)}: {of} hold no label; commonest: {texts}. What helps: {remedy}."


def _counts(found: Mapping[str, int], n: float | None) -> str:
    if list(found.values()) == [n]:
        return _short(next(iter(found)))
    return ", ".join(f"{_short(name)} ({count} of {n})" for name, count in found.items())


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


# --- a judge model ---------------------------------------------------------------------------------------------------


def _judged_by(note: Note) -> str:
    pair = PAIR if note.flag("pairs") else ""
    return f"{_subject(note)}: {pair}judged by {note.text('judge')} ({note.text('where')})."


def _agreement(note: Note) -> str:
    raw, kappa, unread = note.estimate("raw"), note.estimate("kappa"), note.known("unreadable")
    beside = f"; {unread} of its verdicts could not be read" if unread else ""
    return (
        f"{_subject(note)}: the judge agrees with people on {_bounds(raw, percent=True)} of {note.known('n')} texts; "
        f"kappa {_bounds(kappa)} ({kappa.method}){beside}."
    )


def _warning(note: Note) -> str:
    return f"WARNING †: {_subject(note)} is scored by a judge model: {why_warned(note)}."


def _unreadable(note: Note) -> str:
    such_as = note.text("such_as")
    such = f"such as `{such_as}`" if such_as else "the first of them empty"
    of = f"{note.known('n')} of {note.known('verdicts')} replies"
    return f"{_subject(note)}: {of} of the judge hold no readable verdict, {such}."


def _corrected(note: Note) -> str:
    labels, n, mean = note.known("labels"), note.known("n"), note.estimate("mean")
    drawn = "" if labels == n else "; it holds if those are a uniform random draw of all"
    of = f"people's verdicts on {labels} of its {n} answers"
    return f"{_subject(note)}: {_bounds(mean, percent=True)} by {of} ({mean.method}){drawn}."


def _both_orders(note: Note) -> str:
    first, second = note.number("first"), note.number("second")
    apart = f"; else it preferred the first {first} times, the second {second} times" if first + second else ""
    same = f"the judge is of one mind in both orders for {_bounds(note.estimate('consistent'), percent=True)}"
    return f"{_subject(note)}: {same} of {note.known('pairs')} pairs{apart}."


def _own_judge(note: Note) -> str:
    return f"{_subject(note)}: it judged its own answers, and models tend to prefer those."


def _judge_bill(note: Note) -> str:
    usd, whole = note.known("usd"), note.known("usd_with_models")
    cost = "at an unknown cost" if usd is None else f"for ${usd:.4g}"
    with_it = "" if whole is None else f"; with the answers ${whole:.4g}"
    faults = "".join(f", {count} {key}" for key in ("failed", "cut") if (count := note.known(key)))
    tokens = [note.known(way) for way in ("input_tokens", "output_tokens")]
    read, wrote = ("unknown" if count is None else f"{count:,}" for count in tokens)
    return (
        f"Judge {note.text('judge')}: {note.known('verdicts')} verdicts{faults}, tokens in and out {read}, {wrote}, "
        f"{cost}, which no row holds{with_it}."
    )


def _judge_stopped(note: Note) -> str:
    return f"Judge {note.text('judge')}: {note.text('reason')}."


def _bounds(estimate: Estimate, percent: bool = False) -> str:
    """Returns a value with its interval, or why there is none."""
    if estimate.value is None:
        return f"unknown ({estimate.reason})"
    scale, digits, unit = (100, 1, " %") if percent else (1, 2, "")
    low, high = estimate.low, estimate.high
    interval = "" if low is None or high is None else f" [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"
    return f"{scale * estimate.value:.{digits}f}{unit}{interval}"


def _run(note: Note) -> str:
    baseline = note.text("baseline")
    return f"[{note.known('number')}]: {note.text('name')}{f' (baseline {baseline})' if baseline else ''}"


_SENTENCES: Mapping[NoteCode, Callable[[Note], str]] = {
    NoteCode.MEASURED_ON: _measured_on,
    NoteCode.THREADS: _threads,
    NoteCode.SEALED: sealed,
    NoteCode.LICENCE: licence,
    NoteCode.STATED: stated,
    NoteCode.POLICY: policy,
    NoteCode.DESPITE_SELF_TEST: lambda note: (
        "Run despite the self-test of its tasks (--despite-self-test): a task that fails it judges answers wrongly."
    ),
    NoteCode.MACHINE_UNKNOWN: _machine_unknown,
    NoteCode.MACHINE_PRICE: _machine_price,
    NoteCode.LIST_PRICE: _list_price,
    NoteCode.PAID: _paid,
    NoteCode.WORST_SLICE: _worst_slice,
    NoteCode.NO_INTERVAL: _no_interval,
    NoteCode.LOSS_UNIT: _loss_unit,
    NoteCode.ENERGY: _energy,
    NoteCode.TRUNCATED_PROMPTS: _truncated_prompts,
    NoteCode.LOADED_OTHERWISE: _loaded_otherwise,
    NoteCode.BUSY_MACHINE: busy_machine,
    NoteCode.BUSY_PASS: busy_pass,
    NoteCode.ANSWERED_AS: _answered_as,
    NoteCode.RECORDED_ANSWERS: _recorded_answers,
    NoteCode.ROWS_LEFT_OUT: _rows_left_out,
    NoteCode.PARTS_OF_DATA: _parts_of_data,
    NoteCode.ANSWERS_RESPELLED: _answers_respelled,
    NoteCode.NEVER_FIRST: _never_first,
    NoteCode.ANSWERS_MISSING: _answers_missing,
    NoteCode.ANSWERS_MATCHED: _answers_matched,
    NoteCode.NOT_AS_ASKED: _not_as_asked,
    NoteCode.HANDLED_OTHERWISE: _handled_otherwise,
    NoteCode.PLAIN_METHOD: _plain_method,
    NoteCode.REFUSALS: _refusals,
    NoteCode.TOKEN_COUNTS: _token_counts,
    NoteCode.NO_ANSWER_FOUND: _no_answer_found,
    NoteCode.JUDGED_BY: _judged_by,
    NoteCode.AGREEMENT: _agreement,
    **dict.fromkeys(WARNINGS, _warning),
    NoteCode.VERDICTS_UNREADABLE: _unreadable,
    NoteCode.CORRECTED: _corrected,
    NoteCode.BOTH_ORDERS: _both_orders,
    NoteCode.OWN_JUDGE: _own_judge,
    NoteCode.JUDGE_BILL: _judge_bill,
    NoteCode.JUDGE_STOPPED: _judge_stopped,
    **dict.fromkeys(_REASONS, _incomplete),
    NoteCode.TRANSIENT: _transient,
    NoteCode.RUN: _run,
}
