"""The run folder: what is acknowledged stays, what is half written is owed again, what was changed is named."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.chain import START
from harness.store.files import (
    Disk,
    append_jsonl,
    append_rows,
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from harness.store.folder import RunFolder
from harness.store.log import (
    ChainReport,
    Paced,
    ResponseLog,
    read_attempts,
    read_responses,
    verify_chain,
)

PLAN = {"digest": "aa", "identity": {"models": {"small": {"dtype": "float32"}}, "tasks": ["mmlu"], "seed": 1}}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
TEXTS = ("plain", 'quote " and \\ and \n', "é ü 漢字 \u2028 \u2029 \x85", "\U0001f600", "", "x" * 300)


def payload(n: int) -> dict:
    return {"key": f"k{n}", "text": TEXTS[n % len(TEXTS)], "logprobs": [-0.1, -n / 3], "error": None}


def written(path: Path, n: int) -> Path:
    """Returns the log at `path` with n responses in it."""
    log = ResponseLog(path)
    log.append_many([payload(i) for i in range(n)])
    log.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.jsonl"


# ---- the log ---------------------------------------------------------------------------------------------------------


def test_what_is_appended_is_read_back_in_order_and_known_by_its_keys(path):
    log = ResponseLog(path)
    log.append(payload(0))
    log.append_many([payload(n) for n in range(1, 12)])
    assert log.keys() == {f"k{n}" for n in range(12)}
    log.close()
    assert list(read_responses(path)) == [payload(n) for n in range(12)]
    again = ResponseLog(path)
    assert (again.keys(), again.head, again.note) == (log.keys(), log.head, None)
    again.close()


def test_a_line_is_plain_json_that_ends_with_the_hash_before_it_and_its_own(path):
    written(path, 3)
    first, second, third = path.read_bytes().decode().split("\n")[:-1]
    assert list(json.loads(first))[-2:] == ["prev", "hash"]
    assert json.loads(first)["prev"] == START
    assert json.loads(second)["prev"] == json.loads(first)["hash"]
    assert json.loads(third)["prev"] == json.loads(second)["hash"]


def test_one_at_a_time_and_in_batches_give_the_same_bytes(tmp_path):
    one = ResponseLog(tmp_path / "one.jsonl")
    for n in range(7):
        one.append(payload(n))
    one.close()
    assert (tmp_path / "one.jsonl").read_bytes() == written(tmp_path / "many.jsonl", 7).read_bytes()


def test_half_a_character_from_a_broken_decoder_is_kept(path):
    log = ResponseLog(path)
    log.append({"key": "a", "text": "half \ud83d"})
    log.close()
    assert list(read_responses(path)) == [{"key": "a", "text": "half \ud83d"}]


def test_a_key_is_stored_once(path):
    log = ResponseLog(path)
    log.append(payload(0))
    with pytest.raises(ValueError, match="'k0' is stored already"):
        log.append(payload(0))
    with pytest.raises(ValueError, match="'k1' is stored already"):
        log.append_many([payload(1), payload(1)])
    log.append(payload(1))
    log.close()
    assert verify_chain(path).lines == 2


def test_a_provisional_response_is_owed_until_another_of_its_key_takes_its_place(path):
    log = ResponseLog(path)
    log.append_many([{**payload(0), "provisional": True}, payload(1)])
    assert log.keys() == {"k1"}
    log.append({**payload(0), "provisional": True})
    log.close()
    log = ResponseLog(path)  # opened again, it knows the same
    assert log.keys() == {"k1"}
    log.append({**payload(0), "text": "at last", "provisional": False})
    assert log.keys() == {"k0", "k1"}
    with pytest.raises(ValueError, match="'k0' is stored already"):
        log.append(payload(0))
    log.close()
    assert [line["key"] for line in read_attempts(path)] == ["k0", "k1", "k0", "k0"]
    assert [(line["key"], line.get("text")) for line in read_responses(path)][-1] == ("k0", "at last")
    assert len(list(read_responses(path))) == 2 and verify_chain(path).lines == 4


def test_reserved_names_and_values_json_lacks_are_our_bug_and_write_nothing(path):
    log = ResponseLog(path)
    with pytest.raises(ValueError, match="may not have the keys"):
        log.append({"key": "a", "prev": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        log.append({"key": "a", "logprob": float("nan")})
    log.append_many([])
    log.close()
    assert path.read_bytes() == b""
    with pytest.raises(ValueError, match="the log is closed"):
        log.append(payload(0))


def test_a_key_stored_twice_by_someone_else_is_refused(path):
    written(path, 1)
    other = written(path.with_name("other.jsonl"), 0)
    log = ResponseLog(other)
    log._head = verify_chain(path).head  # a second writer that knows the chain but not the keys
    log.append(payload(0))
    log.close()
    path.write_bytes(path.read_bytes() + other.read_bytes())
    with pytest.raises(StoreError, match="'k0' is stored twice"):
        list(read_responses(path))
    with pytest.raises(StoreError, match="'k0' is stored twice"):
        ResponseLog(path)


def test_a_sealed_line_that_is_no_response_is_named(path):
    log = ResponseLog(path)
    log._head = START
    log.append({"key": "a"})
    log.close()
    line = path.read_bytes().replace(b'"key":"a"', b'"kex":"a"')
    body = line[: line.index(b',"hash"')]
    path.write_bytes(body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n')
    assert verify_chain(path).ok
    with pytest.raises(StoreError, match="the line is no response"):
        list(read_responses(path))


# ---- torn and broken -------------------------------------------------------------------------------------------------


def test_a_tail_torn_at_any_byte_of_the_last_three_lines_is_cut_off_and_owed(path):
    whole = written(path, 5).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for size in range(ends[1], len(whole)):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)
        assert len(list(read_responses(path))) == kept
        log = ResponseLog(path, Disk(fsync=lambda fd: None))
        assert log.keys() == {f"k{n}" for n in range(kept)}
        assert (log.note is None) == (size in ends)
        log.append_many([payload(n) for n in range(kept, 5)])
        log.close()
        assert path.read_bytes() == whole


def test_the_note_names_the_torn_line(path):
    whole = written(path, 3).read_bytes()
    path.write_bytes(whole[:-9])
    log = ResponseLog(path)
    log.close()
    assert log.note == f"{path}: line 3 was half written; it is cut off and asked again"


@pytest.mark.parametrize("tail", [b"\0" * 200, b"garbage\n", b'{"key":"x"}\n', b"\n"])
def test_a_last_line_that_is_no_line_of_ours_is_cut_off(path, tail):
    whole = written(path, 3).read_bytes()
    path.write_bytes(whole + tail)
    assert verify_chain(path).broken_line == 4
    log = ResponseLog(path)
    log.close()
    assert "line 4" in log.note
    assert path.read_bytes() == whole


def test_a_break_before_the_last_line_is_refused_and_named(path):
    lines = written(path, 5).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"quote", b"Quote"), *lines[2:]]))
    with pytest.raises(StoreError) as caught:
        ResponseLog(path)
    assert caught.value.what == "the log is broken: the line was changed: its hash does not fit"
    assert caught.value.where == f"{path}, line 2"
    assert "head -n 1" in caught.value.fix
    with pytest.raises(StoreError, match="line 2"):
        list(read_responses(path))


@pytest.mark.slow
def test_every_sampled_flip_deletion_swap_and_copy_of_lines_is_found_at_its_line(path):
    whole = written(path, 30).read_bytes()
    head = verify_chain(path).head
    lines = whole.split(b"\n")[:-1]
    lines = [line + b"\n" for line in lines]
    starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
    dice = random.Random(7)

    def flip() -> tuple[bytes, int]:
        at = dice.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] ^= 1 << dice.randrange(8)
        return bytes(changed), sum(start <= at for start in starts)

    def drop_byte() -> tuple[bytes, int]:
        at = dice.randrange(len(whole))
        return whole[:at] + whole[at + 1 :], sum(start <= at for start in starts)

    def add_byte() -> tuple[bytes, int]:
        at = dice.randrange(len(whole))
        return whole[:at] + bytes([dice.randrange(256)]) + whole[at:], sum(start <= at for start in starts)

    def delete() -> tuple[bytes, int]:
        n = dice.randrange(30)
        return b"".join(lines[:n] + lines[n + 1 :]), n + 1

    def swap() -> tuple[bytes, int]:
        a, b = sorted(dice.sample(range(30), 2))
        order = list(lines)
        order[a], order[b] = order[b], order[a]
        return b"".join(order), a + 1

    def copy() -> tuple[bytes, int]:
        n, to = dice.randrange(30), dice.randrange(31)
        # The line after is the first wrong one if the copy stands right before its original: it is the original then.
        return b"".join([*lines[:to], lines[n], *lines[to:]]), to + 1 + (n == to)

    def cut() -> tuple[bytes, int]:
        n = dice.randrange(30)
        return b"".join(lines[:n]), n + 1

    mutants = 0
    for change in (flip, drop_byte, add_byte, delete, swap, copy, cut):
        for _ in range(500):
            changed, line = change()
            if changed == whole:
                continue
            path.write_bytes(changed)
            report = verify_chain(path, head)
            assert not report.ok, change
            # A line end added at a line end makes an empty line after it.
            assert report.broken_line in ({line, line + 1} if change is add_byte else {line}), change
            assert report.lines == report.broken_line - 1
            mutants += 1
    assert mutants > 3400


def test_a_whole_log_is_reported_with_its_head(path):
    written(path, 4)
    last = json.loads(path.read_bytes().split(b"\n")[-2])
    assert verify_chain(path) == ChainReport(True, 4, last["hash"])
    assert verify_chain(path, last["hash"]).ok


def test_an_empty_log_is_whole_unless_a_head_was_noted(path):
    path.touch()
    assert verify_chain(path) == ChainReport(True, 0, START)
    assert verify_chain(path, "f" * 64).why == "lines are missing at the end: the noted head is not there"


def test_lines_forged_at_the_end_show_against_the_noted_head(path):
    written(path, 2)
    head = verify_chain(path).head
    log = ResponseLog(path)
    log.append(payload(2))
    log.close()
    assert verify_chain(path).ok
    assert verify_chain(path, head) == ChainReport(False, 3, log.head, 3, "lines were added after the noted head")


def test_a_missing_log_is_told(path):
    with pytest.raises(StoreError, match="no such file") as caught:
        verify_chain(path)
    assert "run folder" in caught.value.fix


# ---- a disk that fails -----------------------------------------------------------------------------------------------


class Script:
    """A disk that notes every call and fails at the n-th of those with a name."""

    def __init__(self, name: str = "", at: int = 0, error: int = errno.EIO, times: int = 1) -> None:
        self.name, self.at, self.error, self.times = name, at, error, times
        self.calls: list[str] = []
        self.disk = Disk(
            write=self._around("write", os.write),
            fsync=self._around("fsync", os.fsync),
            truncate=self._around("truncate", os.ftruncate),
            rename=self._around("rename", os.replace),
        )

    def _around(self, name, call):
        def wrapped(*arguments):
            self.calls.append(name)
            nth = self.calls.count(name)
            if name == self.name and self.at <= nth < self.at + self.times:
                if name == "write":  # part of the bytes is on disk when a write fails
                    os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(self.error, os.strerror(self.error))
            return call(*arguments)

        return wrapped


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("name", ["write", "fsync"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("rollback", [True, False])
def test_a_failing_disk_is_told_and_the_log_stays_resumable(path, name, at, error, rollback):
    script = Script(name, at + (name == "fsync"), error)  # the first fsync is the folder's
    log = ResponseLog(path, script.disk if rollback else replace(script.disk, truncate=_fails))
    with pytest.raises(StoreError) as caught:
        for n in range(6):
            log.append(payload(n))
    full = error != errno.EIO
    assert caught.value.what == ("the disk is full" if full else f"the disk refuses: {os.strerror(error)}")
    assert caught.value.where == str(path)
    assert "run the same command again" in caught.value.fix
    assert log.keys() == {f"k{n}" for n in range(at - 1)}
    with pytest.raises(ValueError, match="closed"):
        log.append(payload(9))

    log = ResponseLog(path)
    unsynced_but_whole = name == "fsync" and not rollback
    assert log.keys() == {f"k{n}" for n in range(at - 1 + unsynced_but_whole)}
    assert (log.note is not None) == (name == "write" and not rollback)
    done = log.keys()
    log.append_many([payload(n) for n in range(6) if f"k{n}" not in done])
    log.close()
    assert list(read_responses(path)) == [payload(n) for n in range(6)]


def _fails(*_: object) -> None:
    raise OSError(errno.EIO, "no")


def test_short_writes_and_interruptions_lose_nothing(path):
    dice = random.Random(3)

    def write(fd, data):
        if dice.random() < 0.3:
            raise InterruptedError(errno.EINTR, "interrupted")
        return os.write(fd, data[: dice.randrange(1, 40)])

    log = ResponseLog(path, Disk(write=write))
    log.append_many([payload(n) for n in range(10)])
    log.close()
    assert list(read_responses(path)) == [payload(n) for n in range(10)]


def test_a_disk_that_takes_no_bytes_is_an_error_not_a_hang(path):
    log = ResponseLog(path, Disk(write=lambda fd, data: 0))
    with pytest.raises(StoreError, match="takes no more bytes"):
        log.append(payload(0))


def test_ctrl_c_within_a_write_leaves_no_half_line(path):
    def write(fd, data):
        os.write(fd, data[:20])
        raise KeyboardInterrupt

    ResponseLog(path).close()
    log = ResponseLog(path, Disk(write=write))
    with pytest.raises(KeyboardInterrupt):
        log.append(payload(0))
    assert path.read_bytes() == b""


def test_a_response_is_written_then_synced_then_done(path):
    """A log whose append leaves out the fsync fails here: SIGKILL could not show it."""
    script = Script()
    log = ResponseLog(path, script.disk)
    assert script.calls == ["fsync"]  # the folder: the new file's name must last too
    log.append(payload(0))
    log.append_many([payload(1), payload(2)])
    assert script.calls[1:] == ["write", "fsync", "write", "fsync"]
    log.close()


def test_cutting_off_a_torn_tail_is_synced(path):
    path.write_bytes(written(path, 2).read_bytes()[:-5])
    script = Script()
    ResponseLog(path, script.disk).close()
    assert script.calls == ["truncate", "fsync"]


def test_a_log_that_cannot_be_opened_or_mended_is_told(path):
    path.mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        ResponseLog(path)
    path.rmdir()
    path.write_bytes(written(path, 2).read_bytes()[:-5])
    with pytest.raises(StoreError, match="the disk refuses: no"):
        ResponseLog(path, Disk(truncate=_fails))


# ---- killed ----------------------------------------------------------------------------------------------------------


def crash(*options: str) -> dict:
    script = Path(__file__).parents[1] / "benchmarks" / "crash_store.py"
    fast = ["--folder", "/dev/shm"] if Path("/dev/shm").is_dir() else []  # the loss is simulated, so memory will do
    done = subprocess.run([sys.executable, script, *fast, *options], capture_output=True, text=True, env=ENVIRONMENT)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_after_100_kills_nothing_is_lost_doubled_or_changed():
    tally = crash("--kills", "100", "--seed", "11")
    assert tally["kills"] == 100
    assert tally["torn_tails"] > 3 and tally["cut"] > 10  # the deaths did bite
    assert tally["harm"] == 0, tally["examples"]


@pytest.mark.slow
def test_the_kills_would_find_a_missing_fsync():
    """Of 30 deaths some 15 are followed by loss; that none of them meets an acknowledged response is below 1e-6."""
    assert crash("--kills", "30", "--mutant", "no-fsync")["lost"] > 0


# ---- the folder ------------------------------------------------------------------------------------------------------


def test_a_new_folder_holds_its_plan_and_a_second_visit_resumes_it(tmp_path):
    with RunFolder.create_or_resume(tmp_path / "a" / "run", PLAN) as run:
        assert not run.resumed
        run.responses().append(payload(0))
        assert run.responses() is run.responses()
    assert json.loads((tmp_path / "a" / "run" / "plan.json").read_text()) == PLAN
    with RunFolder.create_or_resume(tmp_path / "a" / "run", {**PLAN, "note": "not part of the identity"}) as run:
        assert run.resumed
        assert run.responses().keys() == {"k0"}
    assert sorted(os.listdir(tmp_path / "a" / "run")) == ["plan.json", "responses.jsonl"]


def test_another_plan_is_refused_and_the_keys_that_differ_are_named(tmp_path):
    RunFolder.create_or_resume(tmp_path, PLAN).close()
    other = {"digest": "bb", "identity": {"models": {"small": {"dtype": "bfloat16"}}, "tasks": ["mmlu", "gsm8k"]}}
    with pytest.raises(StoreError) as caught:
        RunFolder.create_or_resume(tmp_path, other)
    assert caught.value.what == (
        "this run was begun under another plan: "
        'models.small.dtype was "float32", is "bfloat16"; seed was 1, is absent; tasks.1 was absent, is "gsm8k"'
    )
    assert "start anew: --out DIR" in caught.value.fix
    other["identity"] = {**PLAN["identity"], "models": {"large": {"dtype": "float32", "path": "x"}}}
    with pytest.raises(StoreError, match=r"models.large was absent, is present; models.small was present, is absent\n"):
        RunFolder.create_or_resume(tmp_path, other)
    RunFolder.create_or_resume(tmp_path, PLAN).close()  # the refusal left no lock


def test_five_differing_keys_are_shown_and_long_values_cut(tmp_path):
    RunFolder.create_or_resume(tmp_path, {"digest": "a", "identity": {}}).close()
    plan = {"digest": "b", "identity": {f"k{n}": "v" * 100 for n in range(8)}}
    with pytest.raises(StoreError) as caught:
        RunFolder.create_or_resume(tmp_path, plan)
    assert "k4 was absent" in caught.value.what and "k5" not in caught.value.what
    assert "and 3 more" in caught.value.what
    assert len(caught.value.what) < 500


def test_a_tuple_in_the_plan_is_the_list_that_json_makes_of_it(tmp_path):
    RunFolder.create_or_resume(tmp_path, {"digest": "a", "identity": {"x": (1, 2), "y": 1}}).close()
    with pytest.raises(StoreError) as caught:
        RunFolder.create_or_resume(tmp_path, {"digest": "b", "identity": {"x": (1, 2), "y": 2}})
    assert caught.value.what == "this run was begun under another plan: y was 1, is 2"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "aa"}', "\x00"])
def test_a_plan_that_cannot_be_read_is_told(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(StoreError, match="the plan of this run cannot be read"):
        RunFolder.create_or_resume(tmp_path, PLAN)


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="holds other files"):
        RunFolder.create_or_resume(tmp_path, PLAN)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_file_in_the_folders_place_is_told(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(StoreError, match="this is a file, no run folder") as caught:
        RunFolder.create_or_resume(tmp_path / "run", PLAN)
    assert caught.value.fix == "name a folder: --out DIR"


def test_what_a_crash_leaves_before_the_plan_is_written_does_not_stop_the_next_run(tmp_path):
    (tmp_path / ".lock").write_text("1\n")
    (tmp_path / ".plan.json.part").write_text('{"dig')
    with RunFolder.create_or_resume(tmp_path, PLAN) as run:
        assert not run.resumed
    assert os.listdir(tmp_path) == ["plan.json"]


def test_a_second_run_in_the_same_folder_is_refused_with_the_process_that_holds_it(tmp_path):
    with RunFolder.create_or_resume(tmp_path, PLAN):
        with pytest.raises(StoreError) as caught:
            RunFolder.create_or_resume(tmp_path, PLAN)
        assert caught.value.what == f"another run is writing here (process {os.getpid()})"
        code = (
            "import sys; from harness.store.folder import RunFolder, StoreError\n"
            "try: RunFolder.create_or_resume(sys.argv[1], {'digest': 'aa', 'identity': {}})\n"
            "except StoreError as error: print(error.what)"
        )
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        assert done.stdout.strip() == caught.value.what
    RunFolder.create_or_resume(tmp_path, PLAN).close()


def test_closing_twice_does_not_take_away_the_next_runs_lock(tmp_path):
    run = RunFolder.create_or_resume(tmp_path, PLAN)
    run.close()
    with RunFolder.create_or_resume(tmp_path, PLAN):
        run.close()
        with pytest.raises(StoreError, match="another run"):
            RunFolder.create_or_resume(tmp_path, PLAN)


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        RunFolder.create_or_resume(tmp_path, PLAN)


# ---- whole files -----------------------------------------------------------------------------------------------------


def test_whole_files_are_written_synced_and_then_named(tmp_path):
    script = Script()
    write_text_atomic(tmp_path / "table.md", "| é |\n", script.disk)
    assert script.calls == ["write", "fsync", "rename", "fsync"]
    write_json_atomic(tmp_path / "summary.json", {"n": None, "name": "é"})
    write_jsonl_atomic(tmp_path / "records.jsonl", ({"n": n, "text": "\u2028"} for n in range(3)))
    assert (tmp_path / "table.md").read_bytes() == "| é |\n".encode()
    assert json.loads((tmp_path / "summary.json").read_text()) == {"n": None, "name": "é"}
    lines = (tmp_path / "records.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["n"] for line in lines[:-1]] == [0, 1, 2] and lines[-1] == b""
    assert sorted(os.listdir(tmp_path)) == ["records.jsonl", "summary.json", "table.md"]


@pytest.mark.parametrize("name", ["write", "fsync", "rename"])
def test_the_old_file_stays_when_writing_the_new_one_fails(tmp_path, name):
    write_text_atomic(tmp_path / "table.md", "old")
    with pytest.raises(StoreError, match="the disk is full"):
        write_text_atomic(tmp_path / "table.md", "new", Script(name, 1, errno.ENOSPC).disk)
    assert (tmp_path / "table.md").read_text() == "old"
    assert os.listdir(tmp_path) == ["table.md"]


def test_a_row_that_fails_while_being_made_leaves_the_old_file(tmp_path):
    write_jsonl_atomic(tmp_path / "records.jsonl", [{"n": 1}])
    with pytest.raises(ZeroDivisionError):
        write_jsonl_atomic(tmp_path / "records.jsonl", ({"n": 1 / n} for n in (1, 0)))
    assert (tmp_path / "records.jsonl").read_text() == '{"n":1}\n'
    assert os.listdir(tmp_path) == ["records.jsonl"]


def test_many_rows_are_written_in_pieces(tmp_path):
    script = Script()
    write_jsonl_atomic(tmp_path / "records.jsonl", ({"text": "x" * 1000} for _ in range(3000)), script.disk)
    assert script.calls.count("write") == 3
    assert (tmp_path / "records.jsonl").read_bytes().count(b"\n") == 3000


def test_measurements_are_added_line_by_line_and_a_torn_line_goes(tmp_path):
    path, script = tmp_path / "measurements.jsonl", Script()
    append_jsonl(path, {"ttft_s": 0.1}, script.disk)
    assert script.calls == ["fsync", "truncate", "write", "fsync"]
    path.write_bytes(path.read_bytes() + b'{"torn": "' + b"x" * 100_000)
    append_jsonl(path, {"ttft_s": 0.2})
    assert path.read_text() == '{"ttft_s":0.1}\n{"ttft_s":0.2}\n'
    path.write_bytes(b"torn from the first line on")
    append_jsonl(path, {"a": 1})
    assert path.read_text() == '{"a":1}\n'


def test_a_load_is_written_down_without_waiting_for_the_disk(tmp_path):
    path, script = tmp_path / "measurements.jsonl", Script()
    append_rows(path, [{"a": 1}, {"a": 2}], script.disk, sync=False)
    append_rows(path, [{"a": 3}], script.disk, sync=False)
    assert script.calls.count("fsync") == 1  # the new file's folder, once
    assert path.read_text() == '{"a":1}\n{"a":2}\n{"a":3}\n'


@pytest.mark.parametrize("name", ["write", "fsync"])
def test_a_measurement_that_cannot_be_added_leaves_no_half_line(tmp_path, name):
    path = tmp_path / "measurements.jsonl"
    append_jsonl(path, {"a": 1})
    with pytest.raises(StoreError, match="the disk is full"):
        append_jsonl(path, {"a": 2}, Script(name, 1, errno.ENOSPC).disk)
    assert path.read_text() == '{"a":1}\n'


# --- several at a time -----------------------------------------------------------------------------------------------


def paced(path: Path, sync_s: float, **how: bool) -> tuple[Paced, list[float]]:
    """Returns a log whose disk takes `sync_s` for each sync, and the clock, which only it and the test move."""
    now = [100.0]

    def fsync(handle: int) -> None:
        now[0] += sync_s

    return Paced(ResponseLog(path, Disk(fsync=fsync)), **how, clock=lambda: now[0]), now


def test_a_slow_disk_gets_several_answers_at_a_time_and_waits_a_twentieth(path):
    held, now = paced(path, sync_s=0.01)
    sizes = []
    for i in range(1000):
        now[0] += 0.001
        held.add(i, {"key": str(i)})
        sizes.append(len(held.new()))
    assert sizes[0] == 1 and set(sizes) == {0, 1, 190}  # 0.01 s of waiting for each 0.19 s of answers
    held.flush()
    assert held.done == list(range(1000))
    assert [line["key"] for line in read_responses(path)] == [str(i) for i in range(1000)]


def test_what_comes_slowly_or_may_have_cost_money_is_stored_at_once(path, tmp_path):
    held, now = paced(path, sync_s=0.01)
    for i in range(5):
        now[0] += 0.2
        held.add(i, {"key": str(i)})
        assert held.new() == [i]
    paid, _ = paced(tmp_path / "paid.jsonl", sync_s=0.01, at_once=True)
    for i in range(5):
        paid.add(i, {"key": str(i)})
        assert paid.new() == [i]


def test_a_disk_that_fails_leaves_nothing_that_counts_as_done(path):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    log = ResponseLog(path)
    log._disk = Disk(fsync=full)
    held = Paced(log)
    with pytest.raises(StoreError, match="space"):
        held.add("a", {"key": "a"})
    assert held.done == []
    held.flush()  # nothing is held any more: the answer is owed
    assert list(read_responses(path)) == []
