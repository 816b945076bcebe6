"""Continuous batching gives what `generate` gives on each prompt alone, and says truly how it went."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from harness.engine import attention
from harness.engine.cache import LONGEST_TRIED
from harness.engine.generate import batching, packed
from harness.engine.generate.batching import Generator
from harness.engine.generate.choose import obstacle
from harness.engine.generate.constrained import Grammars
from harness.engine.generate.packed import PackedDecoder
from harness.engine.generate.padded import PaddedDecoder
from harness.engine.generate.row import Row, RowInput
from harness.engine.generate.shared_prefixes import Segment, shared_segments
from harness.engine.plain_method import NOT_FINITE
from harness.engine.text.thinking import Markers, Thinking
from harness.values import Form, Sampling
from tests.support.architectures import CONTEXT, VOCABULARY, each, load
from tests.support.bytes_tokenizer import bytes_tokenizer, ids_of

pytestmark = pytest.mark.slow

torch.set_num_threads(1)

THINK = Thinking(Markers("<think>", "</think>"), budget=7)


class Numbers:
    """A tokenizer for models of no language: a token's text is its number and a space."""

    all_special_tokens = ()

    def decode(self, ids, **options):
        return "".join(f"{i} " for i in ids)


def loaded(name: str, **changes):
    """Returns a small random model with a tokenizer, and nothing of its own in its generation settings."""
    loaded = load(name, **changes)
    loaded.model.generation_config = GenerationConfig()
    tokenizer = bytes_tokenizer() if changes.get("vocab_size", 0) >= len(bytes_tokenizer()) else Numbers()
    return replace(loaded, tokenizer=tokenizer)


def generated_alone(loaded, prompt: RowInput) -> tuple[int, ...]:
    """Returns the ids that the model's own greedy `generate` writes after one prompt at batch size 1."""
    options = {"max_new_tokens": prompt.max_tokens, "do_sample": False, "pad_token_id": 0}
    ids = torch.tensor([prompt.ids])
    out = loaded.model.generate(ids, eos_token_id=list(loaded.eos_tokens), **options)
    return tuple(out[0, len(prompt.ids) :].tolist())


def mixed_prompts(n: int, vocabulary: int = VOCABULARY, seed: int = 0) -> list[RowInput]:
    """Prompts of 1 to 110 tokens, in part with a common beginning or two, a few the same; 1 to 12 tokens each."""
    rng = random.Random(seed)
    shots, document = ([rng.randrange(3, vocabulary) for _ in range(40)] for _ in range(2))
    prompts = []
    for i in range(n):
        own = [rng.randrange(3, vocabulary) for _ in range(rng.randrange(1, 30))]
        before = ([], shots, shots + document)[i % 3]
        ids = prompts[i - 3].ids if i % 10 == 9 else (*before, *own)
        prompts.append(RowInput(ids=tuple(ids), max_tokens=rng.randrange(1, 13)))
    return prompts


def joins_and_leaves(results) -> bool:
    return len({r.queued_s for r in results}) > 2 and len({len(r.ids) for r in results}) > 2


# --- the same tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", each(lambda a: a.kind == "AutoModelForCausalLM"))
def test_greedy_ids_equal_generate_at_batch_size_one(name: str):
    model, prompts = loaded(name), mixed_prompts(50)
    generator, expected = Generator(model), [generated_alone(model, p) for p in prompts]
    for slots in (1, 3, 8):
        results = dict(generator.run(prompts, slots=slots))
        assert [results[i].ids for i in range(50)] == expected, f"{slots} slots, {generator.method}"
        assert joins_and_leaves(results.values())


@pytest.mark.parametrize("name", each(lambda a: a.kind == "AutoModelForCausalLM"))
def test_a_prompt_by_itself_is_answered_as_generate_answers_it(name: str):
    model = loaded(name)
    generator = Generator(model)
    for length, tokens in ((1, 9), (20, 12), (70, 80)):  # below and beyond a window, and beyond what buffers hold
        prompt = RowInput(ids=tuple(3 + 5 * k % 29 for k in range(length)), max_tokens=tokens)
        ((_, alone),) = generator.run([prompt])
        assert alone.ids == generated_alone(model, prompt), (length, generator.method)


@pytest.mark.parametrize("name", ["llama4", "mistral", "gemma3"])
def test_a_mask_counts_that_a_short_trial_does_not_see(name: str, monkeypatch: pytest.MonkeyPatch):
    """With attention that knows of no chunk or window the packed decoder gives right logits of short rows only."""
    model = loaded(name)
    assert obstacle(PaddedDecoder, model) is None
    monkeypatch.setattr(attention, "attention_kinds", lambda config: {"full_attention": None})
    monkeypatch.setattr(attention.Pass, "check", lambda self, windows: None)
    monkeypatch.setattr(packed, "attend_causal", lambda *given: attend_causal(*given[:4], None, given[5]))
    monkeypatch.setattr(packed._StepPass, "_hidden", lambda self, window: hidden(self, None))
    monkeypatch.setattr(packed._StepPass, "_hidden_before", lambda self, *given: None)
    assert obstacle(PackedDecoder, model) == "on a trial its logits were not the model's own"
    monkeypatch.setattr("harness.engine.generate.choose.LONGEST_TRIED", 0)
    assert obstacle(PackedDecoder, model) is None


attend_causal, hidden = packed.attend_causal, packed._StepPass._hidden


def test_chunks_too_long_to_be_tried_are_left_to_the_model_and_each_answer_says_so():
    model = loaded("llama4", attention_chunk_size=LONGEST_TRIED + 1)
    generator = Generator(model)
    assert generator.method == "plain" and "attend in chunks of 513 positions" in generator.why
    results = dict(generator.run(mixed_prompts(4)))
    assert {result.fallback for result in results.values()} == {generator.why}
    assert {result.fallback for _, result in Generator(model, "plain").run(mixed_prompts(2))} == {None}


def test_attention_that_is_told_of_other_windows_than_are_declared_is_not_ours(monkeypatch: pytest.MonkeyPatch):
    model = loaded("mistral")
    monkeypatch.setattr(packed, "declared_windows", lambda model: {None})
    assert "is told of windows {16}, not of {None}" in obstacle(PackedDecoder, model)


METHODS = {"llama": "packed", "gemma3": "packed", "gpt2": "packed", "opt": "packed", "falcon_alibi": "padded"}


@pytest.mark.parametrize(("name", "method"), [*METHODS.items(), ("mamba", "plain"), ("rwkv", "plain")])
def test_the_method_is_chosen_by_what_the_model_can_do(name: str, method: str):
    assert Generator(loaded(name)).method == method


@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral", "opt"])
def test_the_padded_decoder_gives_the_same_as_the_packed_one(name: str):
    model, prompts = loaded(name), mixed_prompts(20)
    generator = Generator(model)
    one = dict(generator.run(prompts, slots=4))
    generator.decoder = PaddedDecoder
    other = dict(generator.run(prompts, slots=4))
    assert [one[i].ids for i in range(20)] == [other[i].ids for i in range(20)]


@pytest.mark.parametrize("name", ["llama", "gemma3", "gemma2"])
def test_long_shared_prefixes_are_read_in_place_and_short_ones_copied(name: str, monkeypatch: pytest.MonkeyPatch):
    model, prompts = loaded(name), mixed_prompts(24)
    expected = [generated_alone(model, p) for p in prompts]
    for shared_length in (1, 33, 1000):
        monkeypatch.setattr(PackedDecoder.__init__, "__kwdefaults__", {"shared_length": shared_length})
        results = dict(Generator(model).run(prompts, slots=5))
        assert [results[i].ids for i in range(24)] == expected, shared_length


def test_a_decoder_that_gives_other_logits_is_not_used(monkeypatch: pytest.MonkeyPatch):
    model = loaded("llama")
    assert obstacle(PackedDecoder, model) is None and obstacle(PaddedDecoder, model) is None
    right = PackedDecoder.remove
    monkeypatch.setattr(PackedDecoder, "remove", lambda self, place: right(self, len(self.rows) - 1))
    assert obstacle(PackedDecoder, model) == "on a trial its logits were not the model's own"
    assert Generator(model).method == "padded"


def test_the_models_own_attention_is_as_it_was_after_a_run():
    model = loaded("llama")
    before = model.model.config._attn_implementation
    dict(Generator(model).run(mixed_prompts(3)))
    assert model.model.config._attn_implementation == before


def test_weights_in_bf16_give_nearly_the_same_as_alone():
    model = loaded("llama")
    model.model.to(torch.bfloat16)
    prompts = [replace(p, max_tokens=1) for p in mixed_prompts(30)]
    results = dict(Generator(model).run(prompts, slots=8))
    same = sum(results[i].ids == generated_alone(model, p) for i, p in enumerate(prompts))
    assert same >= 27


def test_attention_over_parts_adds_up_to_attention_over_the_whole_and_sees_nothing_hidden():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 8)
    hidden = torch.zeros(2, 1, 1, 9, dtype=torch.bool)
    hidden[0, ..., :5], hidden[1, ..., 2:7] = True, True  # of row 0, the first part is hidden as a whole
    whole, total = packed.attend(query, key, value, 0.3, hidden)
    parts = [packed.attend(query, key[:, :, a:b], value[:, :, a:b], 0.3, hidden[..., a:b]) for a, b in ((0, 5), (5, 9))]
    weights = torch.stack([lse for _, lse in parts]).softmax(0)[..., None]
    assert torch.allclose(sum(w * out for w, (out, _) in zip(weights, parts)), whole, atol=1e-6)
    assert torch.allclose(torch.logaddexp(parts[0][1], parts[1][1]), total, atol=1e-6)
    assert (parts[0][1][0] == -torch.inf).all()
    other, other_total = packed.attend(query, key, value, 0.3, hidden, softcap=1e6)  # by hand, without the kernel
    assert torch.allclose(other, whole, atol=1e-5) and torch.allclose(other_total, total, atol=1e-5)


@pytest.mark.parametrize("softcap", [None, 1e6])
def test_one_query_in_bfloat16_is_attended_to_as_exactly_as_the_type_allows(softcap):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 8).bfloat16() for n in (1, 9, 9))
    weights = (query.float() @ key.float().mT * 0.3).softmax(-1)
    hidden = torch.zeros(2, 1, 1, 9, dtype=torch.bool)
    step = attention.attend_step(query, key, value, 0.3, hidden, softcap)
    whole, total = attention.attend(query, key, value, 0.3, hidden, softcap)
    for out in (step, whole):
        torch.testing.assert_close(out.float(), weights @ value.float(), atol=2e-2, rtol=2e-2)
    assert step.shape == whole.shape == query.shape and total.shape == query.shape[:3]


# --- shared prefixes -------------------------------------------------------------------------------------------------


def chains(prompts: list[str], least: int) -> list[list[str]]:
    deepest = shared_segments([tuple(map(ord, p)) for p in prompts], least)
    return [["".join(map(chr, s.ids)) for s in (d.chain() if d else [])] for d in deepest]


def test_segments_are_the_prefix_tree_of_what_prompts_share():
    assert chains(["system A one", "system A two", "system B", "other"], 1) == [
        ["system ", "A "],
        ["system ", "A "],
        ["system "],
        [],
    ]


def test_equal_prompts_share_all_but_their_last_token():
    assert chains(["same", "same", "same"], 2) == [["sam"]] * 3


def test_a_prompt_that_begins_another_keeps_its_last_token_to_itself():
    assert chains(["abcd", "abcdefgh", "abcdefgx"], 2) == [["abc"], ["abc", "defg"], ["abc", "defg"]]


def test_what_is_shorter_than_the_least_is_not_shared():
    assert chains(["abX", "abY", "abcdeP", "abcdeQ"], 3) == [[], [], ["abcde"], ["abcde"]]
    assert chains([], 3) == []
    assert chains(["a"], 1) == [[]]


def test_segments_of_random_prompts_lie_in_every_prompt_they_are_given_to():
    rng = random.Random(4)
    prompts = [tuple(rng.randrange(2) for _ in range(rng.randrange(1, 12))) for _ in range(300)]
    deepest = shared_segments(prompts, 2)
    users: dict[Segment, int] = {}
    for prompt, segment in zip(prompts, deepest):
        chain = segment.chain() if segment else []
        joined = [i for s in chain for i in s.ids]
        assert tuple(joined) == prompt[: len(joined)] and len(joined) < len(prompt)
        assert all(len(s.ids) >= 2 for s in chain)
        for s in chain:
            users[s] = users.get(s, 0) + 1
    assert all(s.users == n >= 2 for s, n in users.items())


def test_a_shared_prefix_is_computed_once(monkeypatch: pytest.MonkeyPatch):
    model = replace(loaded("llama"), eos_tokens=())
    generator, read = Generator(model), []
    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda **k: read.append(k["input_ids"].numel()) or forward(**k))
    document = tuple(range(3, 103))
    prompts = [RowInput(ids=(*document, 110 + i), max_tokens=3) for i in range(12)]
    results = dict(generator.run(prompts, slots=4))
    assert sum(read) == 100 + 12 + 12 * 2  # the document, each last token, two steps of each row
    assert all(r.shared_tokens == 100 for r in results.values())


# --- when a row ends -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talker():
    """A random model that writes bytes; EOS is 2."""
    model = loaded("llama", vocab_size=270)
    return Generator(model)


def text_prompts(n: int, **options) -> list[RowInput]:
    return [RowInput(ids=tuple(ids_of(f"<s>Prompt number {i}: go on")), max_tokens=40, **options) for i in range(n)]


def test_a_row_ends_at_its_stop_string_and_the_text_is_cut_there(talker: Generator):
    free = dict(talker.run(text_prompts(12)))
    stops = [bytes_tokenizer().decode(free[i].ids[10:12]) for i in range(12)]
    usable = [i for i in range(12) if "\ufffd" not in stops[i] and stops[i]]
    assert len(usable) >= 3
    prompts = [replace(p, stop=(stops[i],) if i in usable else ()) for i, p in enumerate(text_prompts(12))]
    held = dict(talker.run(prompts, slots=3))
    for i in range(12):
        if i not in usable:
            assert held[i].ids == free[i].ids
            continue
        assert (held[i].finish_reason, held[i].stop_string) == ("stop", stops[i])
        assert held[i].ids == free[i].ids[: len(held[i].ids)] and len(held[i].ids) <= 12
        assert held[i].text == free[i].text[: free[i].text.index(stops[i])]


def test_a_row_ends_at_any_end_of_sequence_token(talker: Generator):
    free = dict(talker.run(text_prompts(4)))
    ends = {free[i].ids[5 + i] for i in range(4)}
    loaded = replace(talker.loaded, eos_tokens=tuple(ends))
    other = Generator(loaded)
    held = dict(other.run(text_prompts(4)))
    for i in range(4):
        first = next(k for k, token in enumerate(free[i].ids) if token in ends)
        assert held[i].ids == free[i].ids[: first + 1]
        assert held[i].finish_reason == "stop" and held[i].stop_string is None
        assert held[i].text == bytes_tokenizer().decode(held[i].ids[:-1], skip_special_tokens=True)


def test_a_row_that_reaches_its_limit_says_length(talker: Generator):
    prompts = [replace(p, max_tokens=1 + i) for i, p in enumerate(text_prompts(5))]
    results = dict(talker.run(prompts, slots=2))
    assert [len(results[i].ids) for i in range(5)] == [1, 2, 3, 4, 5]
    assert {r.finish_reason for r in results.values()} == {"length"}


def test_a_row_never_runs_past_the_context(talker: Generator):
    (_, result), *_ = talker.run([RowInput(ids=tuple(range(3, 3 + 200)), max_tokens=500)])
    assert len(result.ids) == CONTEXT - 200 and result.finish_reason == "length"


def test_when_time_is_up_every_row_ends_with_what_it_has(talker: Generator):
    results = dict(talker.run(text_prompts(6), slots=2, wall_s=0.0))
    assert {r.finish_reason for r in results.values()} == {"time"} and len(results) == 6
    plain = Generator(loaded("mamba"))
    results = dict(plain.run([RowInput(ids=(5,) * n, max_tokens=2) for n in (3, 4, 5)], wall_s=0.0))
    assert sorted(r.finish_reason for r in results.values()) == ["length", "time", "time"]


def test_prompts_that_cannot_be_run_are_errors_and_the_others_are_not(talker: Generator):
    prompts = [
        RowInput(ids=(), max_tokens=3),
        RowInput(ids=(5, 6), max_tokens=0),
        RowInput(ids=(5,) * CONTEXT, max_tokens=3),
        RowInput(ids=(5, 6), max_tokens=3),
    ]
    results = dict(talker.run(prompts))
    assert [results[i].finish_reason for i in range(4)] == ["error", "error", "error", "length"]
    assert results[0].error == "the prompt is empty"
    assert results[1].error == "max_tokens is 0: nothing to generate"
    assert results[2].error == f"the prompt of {CONTEXT} tokens fills the context of {CONTEXT}"


def test_no_prompts_give_no_results(talker: Generator):
    assert list(talker.run([])) == []


def test_logits_that_are_no_numbers_end_the_row_and_not_the_run():
    model = loaded("llama")
    generator = Generator(model)
    with torch.no_grad():
        model.model.model.embed_tokens.weight[99] = torch.nan
    results = dict(generator.run([RowInput(ids=(5, 99), max_tokens=4), RowInput(ids=(5, 6), max_tokens=4)]))
    assert (results[0].finish_reason, results[0].error) == ("error", NOT_FINITE)
    assert results[1].finish_reason in ("length", "stop") and results[1].error is None


def test_when_memory_runs_out_rows_go_on_with_fewer_places(monkeypatch: pytest.MonkeyPatch):
    model, prompts = loaded("llama"), [replace(p, max_tokens=9) for p in mixed_prompts(12)]
    expected, generator = [generated_alone(model, p) for p in prompts], Generator(model)
    right = PackedDecoder.step

    def step(self, tokens):
        if len(tokens) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return right(self, tokens)

    monkeypatch.setattr(PackedDecoder, "step", step)
    results = dict(generator.run(prompts, slots=8))
    assert [results[i].ids for i in range(12)] == expected
    assert max(r.batch_size for r in results.values()) <= 8

    monkeypatch.setattr(PackedDecoder, "step", lambda self, tokens: step(self, [0] * 4))
    results = dict(generator.run(prompts[:2], slots=2))
    assert {r.finish_reason for r in results.values()} <= {"error", "stop", "length"}
    assert any("out of memory on a sequence of" in (r.error or "") for r in results.values())


# --- draws -----------------------------------------------------------------------------------------------------------


def test_a_rows_draws_are_its_own_whatever_runs_beside_it(talker: Generator):
    warm = Sampling(temperature=1.0, top_p=0.95)
    prompts = [replace(p, sampling=warm, seed=i) for i, p in enumerate(text_prompts(8))]
    one = dict(talker.run(prompts, slots=1))
    many = dict(talker.run(prompts, slots=5))
    alone = dict(talker.run(prompts[3:4]))
    assert [one[i].ids for i in range(8)] == [many[i].ids for i in range(8)]
    assert alone[0].ids == one[3].ids


def test_epochs_of_one_prompt_draw_apart_and_share_its_prefill(talker: Generator):
    prompt = RowInput(ids=tuple(ids_of("<s>" + "The same long prompt. " * 4)), max_tokens=12)
    epochs = [replace(prompt, sampling=Sampling(temperature=1.0), seed=e) for e in range(6)]
    results = dict(talker.run(epochs, slots=6))
    assert len({r.ids for r in results.values()}) == 6
    assert {r.shared_tokens for r in results.values()} == {len(prompt.ids) - 1}


# --- counts and times ------------------------------------------------------------------------------------------------


def test_tokens_are_real_ones_for_prompts_of_very_different_lengths(talker: Generator):
    """One word beside a hundred: a padded width, a batch's longest answer or a second BOS would show here."""
    prompts = [RowInput(ids=(1, *ids_of("word" * n)), max_tokens=n) for n in (1, 25)]
    results = dict(talker.run(prompts, slots=2))
    for i, n in enumerate((1, 25)):
        assert len(results[i].ids) == n or results[i].ids[-1] in talker.loaded.eos_tokens
        assert bytes_tokenizer().decode(results[i].ids, skip_special_tokens=True) == results[i].text


def test_machine_seconds_of_the_rows_add_up_to_the_run(talker: Generator, monkeypatch: pytest.MonkeyPatch):
    """On a clock that only runs in forwards, a second a token."""
    clock, spent, forward = [0.0], {"prompt": 0, "step": 0}, talker.loaded.model.forward

    def timed(**given):
        tokens, kind = given["input_ids"].numel(), type(given[talker.loaded.cache_argument]).__name__
        spent["step" if kind == "_StepPass" else "prompt"] += tokens
        clock[0] += tokens
        return forward(**given)

    monkeypatch.setattr(talker.loaded.model, "forward", timed)
    monkeypatch.setattr(batching.time, "perf_counter", lambda: clock[0])
    prompts = [replace(p, max_tokens=2 + i % 4) for i, p in enumerate(text_prompts(9))]
    prompts += [RowInput(ids=tuple(ids_of("<s>" + "shared " * 9 + str(i))), max_tokens=3) for i in range(5)]
    results = dict(talker.run(prompts, slots=3)).values()
    assert sum(r.prefill_s for r in results) == pytest.approx(spent["prompt"])
    assert sum(r.decode_s for r in results) == pytest.approx(spent["step"])
    assert sum(len(r.ids) - 1 for r in results) == spent["step"]


def test_every_token_is_stamped_and_the_queue_is_counted_apart(talker: Generator):
    results = dict(talker.run(text_prompts(5), slots=1))
    assert sorted(r.queued_s for r in results.values()) != [0.0] * 5
    for r in results.values():
        assert len(r.token_s) == len(r.ids)
        assert all(a < b for a, b in zip(r.token_s, r.token_s[1:]))
        assert (r.first_token_s, r.last_token_s) == (r.token_s[0], r.token_s[-1])
        assert r.prefill_s > 0 and r.decode_s > 0


def test_only_a_row_that_ran_alone_has_a_batch_size_of_one(talker: Generator):
    apart = [RowInput(ids=tuple(ids_of(f"{i} is alone")), max_tokens=4) for i in range(3)]
    assert {r.batch_size for _, r in talker.run(apart, slots=1)} == {1}
    assert {r.batch_size for _, r in talker.run(apart, slots=3)} == {3}
    shared = [
        RowInput(ids=tuple(ids_of("a beginning that several prompts share " + str(i))), max_tokens=4) for i in (1, 2)
    ]
    assert {r.batch_size for _, r in talker.run(shared, slots=1)} == {2}


def test_log_probabilities_are_those_of_the_model(talker: Generator):
    prompts = [replace(p, logprobs=i != 1, max_tokens=6) for i, p in enumerate(text_prompts(3))]
    results = dict(talker.run(prompts))
    assert results[1].confidence is None
    for i in (0, 2):
        ids = torch.tensor([[*prompts[i].ids, *results[i].ids]])
        logprobs = talker.loaded.model(ids).logits[0].log_softmax(-1)
        at = range(len(prompts[i].ids) - 1, ids.shape[1] - 1)
        expected = [float(logprobs[k, ids[0, k + 1]].detach()) for k in at]
        assert results[i].confidence.mean == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        assert results[i].confidence.minimum == pytest.approx(min(expected), abs=1e-4)
        assert results[i].confidence.first == pytest.approx(expected[0], abs=1e-4)


def test_details_name_the_times_of_a_batch_as_such_and_say_only_what_is_known(talker: Generator):
    apart = [RowInput(ids=tuple(ids_of(f"{i} is alone")), max_tokens=4, logprobs=i == 0) for i in range(2)]
    results = dict(talker.run(apart))
    assert results[0].confidence is not None and results[1].confidence is None
    assert results[1].batch_size > 1 and results[1].first_token_s is not None
    ((_, alone),) = talker.run(apart[1:])
    assert alone.batch_size == 1 and alone.shared_tokens == 0 and alone.confidence is None
    ((_, thinker),) = talker.run([RowInput(ids=tuple(ids_of("Why?<think>")), max_tokens=5, thinking=THINK)])
    assert thinker.thought.cut and thinker.thought.tokens == 5


def test_the_plain_method_fills_the_same_fields(talker: Generator):
    plain = Generator(talker.loaded, "plain")
    prompts = [replace(p, thinking=Thinking(THINK.markers), max_tokens=5 + i) for i, p in enumerate(text_prompts(4))]
    one, other = dict(plain.run(prompts)), dict(talker.run(prompts))
    for i in range(4):
        assert (one[i].ids, one[i].text, one[i].thought) == (other[i].ids, other[i].text, other[i].thought)
        assert one[i].finish_reason == other[i].finish_reason


# --- thinking and grammars in the batch ------------------------------------------------------------------------------


def test_a_thinking_budget_ends_the_thought_and_the_answer_follows(talker: Generator):
    prompts = [RowInput(ids=tuple(ids_of(f"<s>Why {i}?<think>")), max_tokens=20, thinking=THINK) for i in range(4)]
    prompts.append(RowInput(ids=tuple(ids_of("<s>Why?")), max_tokens=20))
    results = dict(talker.run(prompts, slots=3))
    (end,) = ids_of("</think>")
    for i in range(4):
        assert results[i].ids[7] == end and len(results[i].ids) == 20
        assert results[i].thought.tokens == 8 and results[i].thought.forced and not results[i].thought.cut
        assert results[i].text == bytes_tokenizer().decode(results[i].ids[8:], skip_special_tokens=True).lstrip()
    assert results[4].thought is None


def test_an_answer_cut_off_while_thinking_says_so_and_has_no_text(talker: Generator):
    thinking = Thinking(Markers("<think>", "</think>"))
    (_, result), *_ = talker.run([RowInput(ids=tuple(ids_of("Why?<think>")), max_tokens=5, thinking=thinking)])
    assert result.text == "" and result.thought.cut and result.thought.tokens == 5
    assert result.finish_reason == "length" and result.confidence is None


def test_stop_strings_and_confidence_are_of_the_answer_only(talker: Generator):
    prompt = RowInput(ids=tuple(ids_of("Why?<think>")), max_tokens=16, thinking=THINK, logprobs=True)
    (_, free), *_ = talker.run([prompt])
    thought_text = bytes_tokenizer().decode(free.ids[:7])
    assert thought_text
    (_, held), *_ = talker.run([replace(prompt, stop=(thought_text[0],))])
    assert len(held.ids) >= 8
    ids = torch.tensor([[*prompt.ids, *free.ids]])
    logprobs = talker.loaded.model(ids).logits[0].log_softmax(-1)
    assert free.confidence.first == pytest.approx(float(logprobs[len(prompt.ids) + 7, free.ids[8]].detach()), abs=1e-4)


def test_each_row_of_a_batch_is_held_to_its_own_grammar(talker: Generator):
    grammars = Grammars(bytes_tokenizer(), vocabulary=270, eos_token=2)
    kinds = [
        grammars.constraint(Form(choices=("billing", "shipping"))),
        None,
        grammars.constraint(Form(regex="[0-9]{3}-[ab]+c")),
        None,
    ]
    prompts = [replace(p, constraint=kinds[i % 4], max_tokens=30) for i, p in enumerate(text_prompts(8))]
    free, held = dict(talker.run(text_prompts(8))), dict(talker.run(prompts, slots=3))
    for i in range(8):
        if i % 4 == 0:
            assert held[i].text in ("billing", "shipping") and held[i].finish_reason == "stop"
        elif i % 4 == 2:
            assert held[i].text[3] == "-" and held[i].text[:3].isdigit()
        else:
            assert held[i].ids == free[i].ids[:30]


def test_a_grammar_begins_after_the_thinking(talker: Generator):
    grammars = Grammars(bytes_tokenizer(), vocabulary=270, eos_token=2)
    prompt = RowInput(
        ids=tuple(ids_of("Why?<think>")),
        max_tokens=30,
        thinking=THINK,
        constraint=grammars.constraint(Form(choices=("yes", "no"))),
    )
    (_, result), *_ = talker.run([prompt])
    assert result.text in ("yes", "no") and result.thought.tokens == 8 and result.finish_reason == "stop"


def test_a_model_that_only_runs_plainly_refuses_grammars_and_splits_thoughts():
    generator = Generator(replace(loaded("mamba", vocab_size=270), tokenizer=bytes_tokenizer()))
    grammars = Grammars(bytes_tokenizer(), vocabulary=270, eos_token=2)
    prompt = RowInput(ids=tuple(ids_of("Why?<think>")), max_tokens=5, thinking=Thinking(Markers("<think>", "</think>")))
    held = replace(prompt, constraint=grammars.constraint(Form(choices=("yes",))))
    short = replace(prompt, thinking=replace(prompt.thinking, budget=2))
    sure = replace(prompt, logprobs=True)
    results = dict(generator.run([held, prompt, short, sure]))
    assert [results[i].error is None for i in range(4)] == [False, True, True, False]
    assert results[0].error.endswith("cannot hold an answer to a schema, regex or choices")
    assert results[2].thought.forced and results[2].thought.tokens == 3 and len(results[2].ids) == 5
    assert results[3].error.endswith("cannot tell the log-probabilities of an answer")
    assert results[1].thought.cut and results[1].text == ""


def test_a_model_may_open_its_thinking_before_an_answer_that_is_held(talker: Generator):
    grammars = Grammars(bytes_tokenizer(), vocabulary=270, eos_token=2)
    form = grammars.constraint(Form(choices=("yes", "no")))
    prompt = RowInput(tuple(ids_of("Why?")), 30, thinking=THINK, constraint=form)
    row = Row(talker.loaded, 0, prompt, 0.0)
    for token in ids_of("<think>hm</think>yes"):
        row.push(token, 0.0)
    assert (row.finished().text, row.finished().thought.text, row.finish) == ("yes", "hm", "stop")
