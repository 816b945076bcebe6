r"""More than 500 answers in real dress, each with the verdict a careful person would give.

A row is a dressed text and what is to be found in it; None is "no answer", never a guess. Dresses that do not change
the answer are crossed with answers; everything else is written out.
"""

from __future__ import annotations

from typing import Any

import pytest

from harness.scoring.extractors import extract
from harness.scoring.scorers import score_answer

FENCE = "```"


def _dresses(table: str) -> list[str]:
    r"""Returns the dresses of a table: between bars or on lines of their own, @ for the answer, \n for a new line."""
    return [dress.replace("\\n", "\n") for line in table.strip().split("\n") for dress in line.split("|")]


# --- letters ---------------------------------------------------------------------------------------------------------

LETTER_DRESS = _dresses(r"""
@|(@)|@.|@)|[@]|**@**|*@*|`@`|"@"|'@'|__@__|$@$| @ \n|(@).|**(@)**|@:|**@.**|The answer is @|The answer is @.
the answer is (@)|The correct answer is @.|The correct answer is **@**.|The answer is: @|The answer is "@".
So the answer is @!|Therefore, the correct option is @.|The best choice is @.|**The answer is @**|Answer: @
Answer: (@)|**Answer:** @|**Answer: @**|Answer: **@**|Answer - see below.\nAnswer: @|ANSWER: @|answer = @
Final answer: @|Final Answer: **(@)**|### Answer: @|Correct answer: @|Correct option: @)|Answer: $@$
Answer:\n@|Answer: option @|The answer is option @.|The right answer would be @.|\boxed{@}|$\boxed{@}$
\boxed{\text{@}}|The answer is \(\boxed{@}\)|@. Paris|@) Paris|(@) Paris|**@**. Paris|**@. Paris**
@\n\nParis is the capital.|Option @ is correct.|Choice @ is the best.|@ is correct.|(@) is the correct one.
@ is the most correct.|I pick (@), clearly.|It must be (@).|Let me think. France has a capital.\nAnswer: @
Explanation: Paris.\n\nThe answer is @ because it is the capital.|The answer is @, since Paris is there.
The answer is @ - Paris.|The answer is @) Paris|The answer is (@) Paris.|Sure! The answer is @.
Answer: @\n\nExplanation: a dog is not a city.|The answer is @\nThe others are wrong.
""")


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("dress", LETTER_DRESS)
def test_a_stated_letter_is_found_in_any_dress(dress: str, letter: str) -> None:
    assert extract("letter", dress.replace("@", letter)) == letter


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "Paris",
        "I do not know.",
        "A dog is an animal.",
        "Answer: A dog, I think",
        "The answer is a matter of taste.",
        "The answer is Actually unclear",
        "Both are plausible.",
        "A or B",
        "A, B",
        "AB",
        "E",
        "The answer is E.",
        "The answer is not B.",
        "The answer is neither.",
        "Vitamin C is in fruit.",
        "Plan B was discussed, and so was plan D.",
        "(A) and (B) are both right",
        "A. Rome\nB. Paris\nC. London\nD. Bonn",
        "(A) Rome\n(B) Paris",
        "All of the above",
        "Sorry, I can't help with that.",
        "As an AI, I cannot choose.",
        "The answer is 4.",
        "Answer:",
        "The answer is",
        "The options are many.",
        "Grade: A+",
        "U.S.A.",
        "<think>",
        "The choice is difficult",
        "答案",
    ],
)
def test_prose_is_never_taken_for_a_letter(text: str) -> None:
    assert extract("letter", text) is None


@pytest.mark.parametrize(
    ("spec", "text", "found"),
    [
        ("letter", "b", "B"),
        ("letter", "(c)", "C"),
        ("letter", "answer: d", "D"),
        ("letter", "The answer is A. Wait, no: the answer is B.", "B"),
        ({"letter": {"pick": "first"}}, "The answer is A. Wait, no: the answer is B.", "A"),
        ("letter", "A. Rome is wrong. The answer is C.", "C"),
        ({"letter": "ABCDEFGHIJ"}, "The answer is (I).", "I"),
        ({"letter": "ABCDEFGHIJ"}, "The answer is I think hard to say", None),
        ({"letter": "1234"}, "The answer is 3.", "3"),
        ({"letter": "1234"}, "The answer is 34.", None),
        ({"letter": "AB"}, "The answer is C.", None),
        ({"letter": "abcd"}, "Answer: B", "b"),
    ],
)
def test_which_letter(spec: Any, text: str, found: str | None) -> None:
    assert extract(spec, text) == found


# --- numbers ---------------------------------------------------------------------------------------------------------

NUMBER_DRESS = _dresses(r"""
@|@.|**@**|*@*|`@`|"@"|$@|$ @|€@|@ €|£@|@ dollars|@ kg|USD @|@%|(@)|= @|x = @|≈ @|#### @|A: @|Answer: @
\boxed{@}|$@$|The answer is @.|The answer is $@.|The total comes to **@** dollars.|So 3 + 4 gives us @
Therefore, she has @ apples left.|In 2024 it was 7.5, today it is @!
Step 1: 5 * 2 = 10\nStep 2: 10 + 1 = 11\nFinal answer: @|答案是@。|النتيجة @|Ответ: @|@ 個|It is @, as computed.
- first\n- @|result: @;|→ @|@\n|Total: @,-|The answer: \( @ \)|\text{Total} = @
""")


@pytest.mark.parametrize(("written", "found"), [("18", "18"), ("1,234.50", "1234.5"), ("70000", "70000")])
@pytest.mark.parametrize("dress", NUMBER_DRESS)
def test_a_final_number_is_found_in_any_dress(dress: str, written: str, found: str) -> None:
    assert extract("number", dress.replace("@", written)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,234", "1234"),
        ("1,234,567", "1234567"),
        ("1,234,567.89", "1234567.89"),
        ("1.234.567", "1234567"),
        ("1.234.567,89", "1234567.89"),
        ("1.234,5", "1234.5"),
        ("12,34,567", "1234567"),
        ("1,23,45,678.9", "12345678.9"),
        ("1'234'567.8", "1234567.8"),
        ("1’234.5", "1234.5"),
        ("1\u00a0234\u00a0567", "1234567"),
        ("1\u202f234,56", "1234.56"),
        ("1\u2009234.5", "1234.5"),
        ("3,5", "3.5"),
        ("0,125", "0.125"),
        ("3.14159", "3.14159"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("007", "7"),
        ("5.00", "5"),
        ("0", "0"),
        ("-0", "0"),
        ("+12", "12"),
        ("-3", "-3"),
        ("−3", "-3"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("-1,000", "-1000"),
        ("10 - 3", "3"),
        ("10-3", "3"),
        ("16-3=13", "13"),
        ("- 5 apples", "5"),
        ("3–5", "5"),
        ("from 3 to 5", "5"),
        ("12 (approximately)", "12"),
        ("about 12 or so", "12"),
        ("1.5e3", "1500"),
        ("2E-3", "0.002"),
        ("3 × 10^4", "30000"),
        ("3 \\times 10^{4}", "30000"),
        ("6.02*10^2", "602"),
        ("45%", "45"),
        ("45 %", "45"),
        ("45\\%", "45"),
        ("99.9 percent", "99.9"),
        ("１２３", "123"),
        ("１，２３４．５", "1234.5"),
        ("٣", "3"),
        ("٣٫١٤", "3.14"),
        ("١٬٢٣٤", "1234"),
        ("٤٥٪", "45"),
        ("४२", "42"),
        ("৪২", "42"),
        ("๔๒", "42"),
        ("共18个", "18"),
        ("18歳", "18"),
        ("第3章は12ページ", "12"),
        ("₹1,00,000", "100000"),
        ("¥5000", "5000"),
        ("CHF 1'000.50", "1000.5"),
        ("EUR12", "12"),
        ("12EUR", "12"),
        ("5kg", "5"),
        ("5th", "5"),
        ("1,2,3", "3"),
        ("1, 2, 3", "3"),
        ("[1, 2, 3]", "3"),
        ("Room 5, total 8", "8"),
        ("It's 7:", "7"),
        ("7.", "7"),
        ("7,", "7"),
        ("7...", "7"),
        ("(7)", "7"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("", None),
        ("none", None),
        ("forty-two", None),
        ("version 1.2.3", None),
        ("10.0.0.1", None),
        ("2024.05.03", None),
        ("m2", None),
        ("GPT-4", None),
        ("COVID-19", None),
        ("abc123", None),
        ("x_1", None),
        ("NaN", None),
        ("inf", None),
        ("∞", None),
        ("½", None),
        ("Ⅷ", None),
        ("x²", None),
        ("9" * 5000, None),
        ("1e999999999", None),
        ("I can't help with that.", None),
    ],
)
def test_how_a_number_is_read(text: str, found: str | None) -> None:
    assert extract("number", text) == found


@pytest.mark.parametrize(
    ("options", "text", "found"),
    [
        ({"pick": "first"}, "18 apples and 3 pears", "18"),
        ({"pick": "first"}, "1,2,3", "1"),
        ({"decimal": "comma"}, "1.234", "1234"),
        ({"decimal": "comma"}, "1.234,5 Euro", "1234.5"),
        ({"decimal": "comma"}, "1 234 567,8", "1234567.8"),
        ({"decimal": "comma"}, "1,234", "1.234"),
        ({"decimal": "comma"}, "1.5", None),
        ({"decimal": "point"}, "1.234", "1.234"),
        ({"decimal": "point"}, "1,234", "1234"),
        ({"decimal": "point"}, "3,5", "5"),
        ({"percent": "fraction"}, "45%", "0.45"),
        ({"percent": "fraction"}, "45", "45"),
        ({"percent": "fraction"}, "0.5 %", "0.005"),
    ],
)
def test_a_number_as_a_locale_writes_it(options: dict[str, str], text: str, found: str | None) -> None:
    assert extract({"number": options}, text) == found


# --- labels ----------------------------------------------------------------------------------------------------------

TEAMS = ("billing", "shipping", "returns", "technical", "card_payment", "card_payment_fee_charged", "N/A")
LABEL_DRESS = _dresses(r"""
@|**@**|`@`|"@"|@.|@!|Label: @|Team: @|Category = @|The label is @.|The answer is "@".
I would classify this as @.|This belongs to @|Answer: **@**|@\n\nThe customer asks for it.
@ - the customer asks for it.|@ (high confidence)|Sure! Here is the label: @|Intent: `@`|1. @|- @
{"label": "@"}|<answer>@</answer>|Route to @, please.|@, because it fits|Not technical, but @
It is not technical. It is @.
""")


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("billing", "billing"),
        ("SHIPPING", "shipping"),
        ("Card Payment", "card_payment"),
        ("card-payment-fee-charged", "card_payment_fee_charged"),
    ],
)
@pytest.mark.parametrize("dress", LABEL_DRESS)
def test_a_label_is_found_in_any_dress(dress: str, written: str, label: str) -> None:
    assert extract({"label": list(TEAMS)}, dress.replace("@", written)) == label


@pytest.mark.parametrize(
    ("labels", "text", "found"),
    [
        (TEAMS, "", None),
        (TEAMS, "I am not sure.", None),
        (TEAMS, "sales", None),
        (TEAMS, "billing, shipping", None),
        (TEAMS, "billing\nshipping", None),
        (TEAMS, "billing or shipping", None),
        (TEAMS, "It could be billing but also shipping", None),
        (TEAMS, "not billing", None),
        (TEAMS, "It isn't billing", None),
        (TEAMS, "rebilling", None),
        (TEAMS, "shippings", None),
        (TEAMS, "n/a", "N/A"),
        (TEAMS, "Shipping. The bill is right.", "shipping"),
        (TEAMS, "Shipping. The customer did not mention billing.", "shipping"),
        (TEAMS, "The customer writes about billing and again about billing", "billing"),
        (("yes", "no"), "Yes.", "yes"),
        (("yes", "no"), "Yes, because there is no reason not to", "yes"),
        (("yes", "no"), "No, it is not.", "no"),
        (("yes", "no"), "There might be yes and no", None),
        (("yes", "no"), "Nobody knows", None),
        (("True", "False"), "true", "True"),
        (("True", "False"), "The statement is False.", "False"),
        (("entailment", "neutral", "contradiction"), "This is a contradiction.", "contradiction"),
        (("C", "C++", "C#"), "C++", "C++"),
        (("C", "C++", "C#"), "c#", "C#"),
        (("C", "C++", "C#"), "C", "C"),
        (("a", "A"), "A", "A"),
        (("退款", "发货"), "这是退款问题", "退款"),
        (("退款", "发货"), "退款和发货", None),
        (("café", "thé"), "CAFÉ", "café"),
        (("straße", "weg"), "STRASSE", "straße"),
        ((":)", ":("), ":(", ":("),
        ((), "anything", None),
    ],
)
def test_which_label(labels: tuple[str, ...], text: str, found: str | None) -> None:
    assert extract({"label": list(labels)}, text) == found
    assert extract("label", text, labels) == found


# --- JSON ------------------------------------------------------------------------------------------------------------

JSON_DRESS = [
    "@",
    "  @\n",
    f"{FENCE}json\n@\n{FENCE}",
    f"{FENCE}\n@\n{FENCE}",
    f"{FENCE}JSON\n@\n{FENCE}\n",
    "~~~json\n@\n~~~",
    f"Here is the JSON:\n\n{FENCE}json\n@\n{FENCE}\n\nLet me know if you need more.",
    f"  {FENCE}json\n  @\n  {FENCE}",
    f"{FENCE}json @ {FENCE}",
    f"{FENCE}json\n@",
    "Sure! @ Hope this helps.",
    "Answer: @",
    "**@**",
    "`@`",
    "json\n@",
    "As the source [1] says, @",
    "Fill {name} in: @",
    "{ curly prose } and @",
    "f(x) = {x} so @",
    "<json>@</json>",
    "@\n\nNote: {done}",
    "@}",
    "@;",
    "\ufeff@",
]


@pytest.mark.parametrize("dress", JSON_DRESS)
@pytest.mark.parametrize(
    ("written", "found"),
    [
        ('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
        ('{\n  "a": {"b": [1, 2, {"c": null}]}\n}', {"a": {"b": [1, 2, {"c": None}]}}),
        ('{"t": "a } brace, a \\" quote and ``` in it"}', {"t": 'a } brace, a " quote and ``` in it'}),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ("{}", {}),
    ],
)
def test_json_is_found_in_any_dress(dress: str, written: str, found: Any) -> None:
    assert extract("json", dress.replace("@", written)) == found


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ('{"a": 1} {"a": 2}', {"a": 1}, {"a": 2}),
        ('First {"a": 1}, then {"a": 2}, at last {"a": 3}.', {"a": 1}, {"a": 3}),
        (f'Draft {{"a": 1}}\n{FENCE}json\n{{"a": 2}}\n{FENCE}', {"a": 2}, {"a": 2}),
        (f'{FENCE}\n{{"a": 1}}\n{FENCE}\nand\n{FENCE}\n{{"a": 2}}\n{FENCE}', {"a": 1}, {"a": 1}),
        ('{"a": 1} and {"a": ', {"a": 1}, None),
        ('{"a": 1', None, None),
        ('{"a": "cut', None, None),
        ('{"a": {"b": 1}, "c', None, None),
        ('[{"a": 1}, {"a"', None, None),
        (f'{FENCE}json\n{{"a": [1, 2', None, None),
        ("{'a': 1}", None, None),
        ("{'a': {\"b\": 1}}", None, None),
        ('{"a": 1,}', None, None),
        ('{"a": NaN}', None, None),
        ('{"a": Infinity}', None, None),
        ('{"a": undefined} but {"b": 1}', {"b": 1}, {"b": 1}),
        ('{"a": // note\n1}', None, None),
        ("[1, 2, 3]", [1, 2, 3], [1, 2, 3]),
        ("see [1]", [1], [1]),
        ("[]", [], []),
        ('["x", "y"]', ["x", "y"], ["x", "y"]),
        ('"only a string"', None, None),
        ("42", None, None),
        ("null", None, None),
        ("", None, None),
        ("a: 1\nb: x", None, None),
        ("I can't help with that.", None, None),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}, {"a": "line\nbreak"}),
        ('{"a": "\\u00e9"}', {"a": "é"}, {"a": "é"}),
        ('{"a": 1, "a": 2}', {"a": 2}, {"a": 2}),
        ("[" * 100_000, None, None),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, None, None),
        ("[" * 100 + "]" * 100, None, None),
    ],
)
def test_which_json(text: str, first: Any, last: Any) -> None:
    assert extract({"json": {"pick": "first"}}, text) == first
    assert extract({"json": {"pick": "last"}}, text) == last


# --- markers, boxes, code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "text", "found"),
    [
        ("after", "So the answer is False.", "False"),
        ("after", "The answer is: 42", "42"),
        ("after", "The answer is 1. No, the answer is 2.", "2"),
        ({"after": {"pick": "first"}}, "The answer is 1", "1"),
        ("after", "THE ANSWER IS yes.", "yes"),
        ("after", "the answer is (B).", "(B)"),
        ("after", "the answer is 3.5.", "3.5"),
        ("after", "the answer is", None),
        ("after", "the answer is .", None),
        ("after", "no marker", None),
        ("after", "", None),
        ({"after": "A:"}, "bla\nA: 70", "70"),
        ({"after": ["answer:", "result:"]}, "Answer: 1\nResult: 2", "2"),
        ({"after": "c++("}, "C++( x", "x"),
        ([{"after": "A:"}, "number"], "16 eggs\nA: $1,018.", "1018"),
        ([{"after": "A:"}, "number"], "16 eggs", None),
        ("boxed", "\\boxed{18}", "18"),
        ("boxed", "so $\\boxed{\\frac{1}{2}}$ is it", "\\frac{1}{2}"),
        ("boxed", "\\boxed{1} then \\boxed{2}", "2"),
        ("boxed", "\\fbox{7}", "7"),
        ("boxed", "\\boxed {8}", "8"),
        ("boxed", "\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("boxed", "\\boxed{\\frac{1}{2}", None),
        ("boxed", "\\boxed{}", None),
        ("boxed", "boxed{3}", None),
        (["boxed", "number"], "thus \\boxed{1{,}234} hm", "1234"),
        ("code", f"{FENCE}python\nx = 1\n{FENCE}", "x = 1"),
        ("code", f"Sure:\n\n{FENCE}python\ndef f():\n    return 1\n{FENCE}\nDone", "def f():\n    return 1"),
        ("code", f"{FENCE}\nx\n{FENCE}\n{FENCE}\ny\n{FENCE}", "x"),
        ({"code": {"pick": "last"}}, f"{FENCE}\nx\n{FENCE}\n{FENCE}\ny\n{FENCE}", "y"),
        ({"code": "sql"}, f"{FENCE}python\nx\n{FENCE}\n{FENCE}SQL\nselect 1\n{FENCE}", "select 1"),
        ({"code": "sql"}, f"{FENCE}python\nx\n{FENCE}", None),
        ("code", f"{FENCE}python\nx = 1", None),
        ("code", "x = 1", None),
        ("code", f"{FENCE}{FENCE}\n{FENCE}\nx\n{FENCE}{FENCE}", f"{FENCE}\nx"),
        ({"first_of": ["code", "text"]}, "x = 1", "x = 1"),
        ({"first_of": ["boxed", {"after": "A:"}, "number"]}, "5 and A: six", "six"),
        ({"first_of": ["boxed", "strict_number"]}, "nothing", None),
        ("strict_number", "so 5\n#### 1,234", "1234"),
        ("strict_number", "#### 18.", "18"),
        ("strict_number", "#### -3\n#### 4", "-3"),
        ("strict_number", "#### $5", None),
        ("strict_number", "####5", None),
        ("strict_number", "18", None),
        ("first_line", "\n\n Paris \nis nice", "Paris"),
        ("first_line", " \n", None),
        ("text", " Paris \n", "Paris"),
        ("text", "\n", None),
        ({"regex": "(?i)city: (.*)"}, "CITY: Paris", "Paris"),
        ({"regex": {"pattern": r"(\d+)-(\d+)", "group": 2}}, "3-4", "4"),
        ({"regex": {"pattern": r"(?P<x>\d+)", "group": "x"}}, "a 7", "7"),
        ({"regex": {"pattern": r"\d+", "pick": "last"}}, "1 2 3", "3"),
        ({"regex": r"\d+"}, "none", None),
        ({"regex": r"x*"}, "abc", None),
    ],
)
def test_what_markers_boxes_and_fences_hold(spec: Any, text: str, found: str | None) -> None:
    assert extract(spec, text) == found


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected", "answer", "verdict"),
    [
        ("date", "2024-05-03", "2024-05-03", 1),
        ("date", "2024-05-03", "2024-5-3", 1),
        ("date", "2024-05-03", "2024/05/03", 1),
        ("date", "2024-05-03", "2024.05.03", 1),
        ("date", "2024-05-03", "20240503", 1),
        ("date", "2024-05-03", "3 May 2024", 1),
        ("date", "2024-05-03", "3rd of May, 2024", 1),
        ("date", "2024-05-03", "03-May-2024", 1),
        ("date", "2024-05-03", "May 3, 2024", 1),
        ("date", "2024-05-03", "May 3rd 2024", 1),
        ("date", "2024-05-03", "Friday, May 3, 2024", 1),
        ("date", "2024-05-03", "Fri 3 May 2024", 1),
        ("date", "2024-09-03", "3 Sept. 2024", 1),
        ("date", "2024-05-03", "03.05.2024", 1),
        ("date", "2024-05-03", "3. 5. 2024", 1),
        ("date", "2024-05-03", "2024-05-03T10:20:30Z", 1),
        ("date", "2024-05-03", "2024-05-03 10:20", 1),
        ("date", "2024-05-03", "2024年5月3日", 1),
        ("date", "2024-05-03", "03/05/2024", 0),
        ({"date": {"dayfirst": True}}, "2024-05-03", "03/05/2024", 1),
        ({"date": {"dayfirst": False}}, "2024-05-03", "05/03/2024", 1),
        ({"date": {"dayfirst": False}}, "2024-05-03", "03/05/2024", 0),
        ("date", "2024-05-13", "13/05/2024", 1),
        ("date", "2024-05-13", "05/13/2024", 1),
        ("date", "2024-05-05", "05/05/2024", 1),
        ("date", "2024-05-03", "03/05/24", 0),
        ("date", "2024-05-03", "2024-05-04", 0),
        ("date", "2024-05-03", "May 2024", 0),
        ("date", "2024-05-03", "soon", 0),
        ("date", "2024-05-03", "2024-05-33", 0),
        ("date", "2024-05-03", "", 0),
        ("date", "2024-05-03", 20240503, 0),
        ("boolean", True, "yes", 1),
        ("boolean", True, "True.", 1),
        ("boolean", "yes", True, 1),
        ("boolean", False, "NO", 1),
        ("boolean", False, 0, 1),
        ("boolean", True, "no", 0),
        ("boolean", True, "maybe", 0),
        ("boolean", False, None, 0),
        ("number", 1234, "1,234", 1),
        ("number", "1,234", "$1234.00", 1),
        ("number", 5, "5 apples", 1),
        ("number", 5, "five", 0),
        ("number", 5, "5 of 6", 0),
        ("number", 5, True, 0),
        ("number", 1, True, 0),
        ("number", 5, None, 0),
        ("number", 5, float("nan"), 0),
        ("number", 5, float("inf"), 0),
        ("number", 0.1, "0.10", 1),
        ("number", 0.3, 0.1 + 0.2, 0),
        ({"number": {"relative": 1e-9}}, 0.3, 0.1 + 0.2, 1),
        ("number", [4, "5"], "5", 1),
        ("number", "12345678901234567", "12345678901234568", 0),
        ({"number": {"absolute": 0.5}}, 10, "10.5", 1),
        ({"number": {"absolute": 0.5}}, 10, "10.51", 0),
        ({"number": {"relative": 0.01}}, -100, "-101", 1),
        ({"number": {"relative": 0.01}}, 100, "102", 0),
        ({"number": {"relative": 0.01}}, 0, "0.001", 0),
        ({"number": {"percent": "fraction"}}, 0.45, "45%", 1),
        ({"number": {"percent": "fraction"}}, "45%", "0.45", 1),
        ("number", 0.45, "45%", 0),
        ({"number": {"decimal": "comma"}}, "1.234,5", "1234,50 €", 1),
        ({"number": {"units": {"g": 1, "kg": 1000}}}, "5 kg", "5000 g", 1),
        ({"number": {"units": {"g": 1, "kg": 1000}}}, 5000, "5kg", 1),
        ({"number": {"units": {"g": 1, "kg": 1000}}}, "5 kg", "5 lb", 0),
        ({"number": {"units": {"g": 1, "kg": 1000}}}, "5 kg", "5", 0),
        ({"number": {"units": {"million": 1e6}}}, "3,500,000", "3.5 million", 1),
        ("label", "billing", " Billing ", 1),
        ("choice", "B", "b", 1),
        ("label", "billing", "shipping", 0),
        ("label", 2, "2", 1),
        ("label", None, "None", 0),
        ("label", "billing", ["billing"], 0),
        ("text", "ACME Ltd.", "acme  ltd", 1),
        ("text", ["NYC", "New York"], "new york", 1),
        ("text", "café", "cafe", 0),
        ("exact_match", "a", "a ", 0),
        ("exact_match", "", "", 1),
        ("exact_match", None, "", 1),
        ("exact_match", 5, "5", 1),
        ("exact_match", True, "true", 1),
        ("exact_match", "a", ["a"], 0),
        ({"exact_match": {"ignore_accents": True}}, "café", "cafe", 1),
        ({"exact_match": {"ignore_articles": True}}, "the cat", "cat", 1),
        ({"exact_match": {"collapse_whitespace": True}}, "a b", " a\n b ", 1),
        ("contains", "Paris", "It is Paris, of course", 1),
        ("contains", "Paris", "It is Parisian", 0),
        ("contains", ["Roma", "Rome"], "in rome.", 1),
        ("contains", "12", "it is 123", 0),
        ("contains", "C++", "I like C++!", 1),
        ("contains", "退款", "这是退款问题", 1),
        ("contains", "", "something", 0),
        ({"contains": {"ignore_case": False}}, "US", "tell us", 0),
        ("regex", r"\bParis\b", "in Paris", 1),
        ({"regex": r"^\d{4}$"}, "not looked at", "2024", 1),
        ({"regex": r"^\d{4}$"}, "not looked at", "24", 0),
    ],
)
def test_verdicts_on_single_values(spec: Any, expected: Any, answer: Any, verdict: int) -> None:
    assert score_answer(spec, expected, answer)[0] == verdict
