"""Sentences on what a house asks for: a seal, licences, what is stated of a model, and the policy that a run keeps."""

from __future__ import annotations

from harness.store.schema import Note

SEALS = {
    "kernel": "the process could not open a network connection.",
    "namespace": "the process had a network of its own, with nothing in it.",
}


def sealed(note: Note) -> str:
    """Returns what kept a run off the network."""
    kind, reason = note.text("kind"), note.text("reason")
    if kind in SEALS and not reason:
        return f"Sealed: {kind}: {SEALS[kind]}"
    return f"Sealed: {kind} ({reason})." if reason else f"Sealed: {kind}."


def licence(note: Note) -> str:
    """Returns what the licence of a model lets one do."""
    use = f"commercial use: {note.text('commercial')} ({note.text('reason')})"
    return f"Licence of {note.subject.model}: {note.text('licence')}; {use}."


def stated(note: Note) -> str:
    """Returns what the run file states of a model whose files are silent."""
    told = {"licence": note.text("licence"), "provenance": note.text("provenance"), "accepted by": note.text("by")}
    said = ", ".join(f"{name} {text}" for name, text in told.items() if text)
    return f"Stated in the run file, not read from the files of {note.subject.model}: {said}."


def policy(note: Note) -> str:
    """Returns which policy was kept, and how."""
    rules = "; ".join(note.names("verdicts")) or "it has no rules"
    return f"Policy {note.text('name')} was kept ({rules}); sha256 of its rules {note.text('digest')[:16]}."
