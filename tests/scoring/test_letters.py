"""A letter that is stated is found in any language and dress; one that is denied, open or part of something is not."""

from __future__ import annotations

import pytest

from harness.scoring.extractors import extract

ABCD = tuple("ABCD")
STATED = [
    *(
        "Option B",
        "option (b)",
        "Choice B.",
        "(b)",
        "b)",
        "b) Paris",
        "**B**: Gold",
        "**B)** Gold",
        "B: Gold",
        "B - Gold",
    ),
    *("B – Gold", "[B]", "[[B]]", "“B”", "«B»", "「B」", "‘B’", "（B）", "Ｂ", "Ｂ：Gold", "\u200bB\u200b", "B\u00a0"),
    *("<answer>B</answer>", "<answer>B) Paris</answer>", "<answer> Option B </answer>", "<b>B</b>", "<final_answer>B"),
    *(
        r"\boxed{B}",
        r"\boxed{(B)}",
        r"\boxed{\mathbf{B}}",
        r"\boxed{B: 12 km}",
        r"\boxed{\text{B) Paris}}",
        r"\fbox{B}",
    ),
    *(
        r"The answer is $\mathbf{B}$",
        r"The answer is \textbf{B}.",
        r"\(\text{B}\)",
        '{"answer": "B"}',
        "{'answer': 'B'}",
    ),
    *("The answer is “B”.", "The answer is 'B'.", "The answer is `B`.", "the answer is: (B).", "Answer： B", "Ans: B"),
    *("The correct answer is option B.", "The best choice would be B.", "The answer must be B.", "Final Answer - B"),
    *(
        "The answer to the question is B.",
        "The answer (from the options) is B.",
        "My answer: B",
        "It is B.",
        "It must be B.",
    ),
    *("I choose B.", "I would go with (B).", "I'd pick B, because it fits.", "Select B", "B is the correct answer."),
    *("B is right.", "Option B is correct.", "(B) is the best answer", "B is the answer.", "B because Paris is there."),
    *("B, because A is wrong.", "B, not A.", "The answer is B, not A.", "The answer is not A but B.", "Not A, but B."),
    *(
        "The answer is B (not A).",
        "A is wrong. The answer is B.",
        "(A) is incorrect. (B) is correct.",
        "It is not A. It is B.",
    ),
    *(
        "Option A is wrong, so it must be option B.",
        "A) Wrong.\nB) Gold",
        "I don't think it is (A). I think it is (B).",
    ),
    *("The answer is A. Wait, no: the answer is B.", "If the answer is A, x is 3. So the answer is B."),
    *("Die Antwort ist B.", "Die richtige Antwort lautet B.", "Richtig ist Antwort B.", "Antwort: B", "Lösung: (B)"),
    *("Die Antwort ist nicht A, sondern B.", "Ich wähle B.", "B ist richtig.", "Die Antwort ist B, weil es passt."),
    *(
        "La réponse est B",
        "La bonne réponse est la réponse B.",
        "Réponse : B",
        "Je choisis B.",
        "B est la bonne réponse.",
    ),
    *("La réponse n'est pas A mais B.", "La respuesta es B.", "La respuesta correcta es la opción B.", "Respuesta: B"),
    *(
        "Elijo B.",
        "B es correcta.",
        "La respuesta no es A, sino B.",
        "La risposta è B.",
        "La risposta corretta è la B.",
    ),
    *(
        "Risposta: B",
        "Scelgo B.",
        "B è corretta.",
        "A resposta é B.",
        "A resposta correta é a alternativa B.",
        "Resposta: B",
    ),
    *("Escolho B.", "B é a correta.", "Het antwoord is B.", "Het juiste antwoord is B, omdat het past.", "Ik kies B."),
    *(
        "B is juist.",
        "Svaret är B.",
        "Svaret er B.",
        "Odpowiedź: B",
        "Správná odpověď je B.",
        "Válasz: B",
        "Răspunsul este B.",
    ),
    *("Правильный ответ: B", "Ответ — B", "Правильный ответ - B.", "Ответ: вариант B", "Выбираю B.", "B — верно."),
    *(
        "答案：（B）",
        "答案是B。",
        "正确答案是 B",
        "正确答案为选项B。",
        "所以选B。",
        "應選 B",
        "故选：B",
        "答案不是A，而是B。",
        "B正确",
    ),
    *(
        "答えはBです。",
        "正解は「B」です。",
        "正解：B",
        "Bが正解です。",
        "答えは B",
        "정답은 B입니다.",
        "정답: B",
        "답은 (B)입니다",
    ),
    *(
        "B가 정답입니다.",
        "الإجابة هي B",
        "الإجابة: B",
        "सही उत्तर B है।",
        "उत्तर: B",
        "Cevap: B",
        "Đáp án là B",
        "Jawaban: B",
    ),
]
OPEN = [
    *(
        "The answer is A and C.",
        "Answer: A, C",
        "Answer: A/C",
        "A & C",
        "A or C",
        "A, B",
        "Either A or C.",
        "Both A and C",
    ),
    *(
        "The answer is A or B.",
        "The answer is either A or B.",
        "A and C are correct.",
        "B and C is correct",
        "Answer: [A/B/C/D]",
    ),
    *(
        "The answer is not (B).",
        "The answer is not B.",
        "It cannot be (B).",
        "not B",
        "Not B.",
        "It is not B.",
        "B is wrong.",
    ),
    *(
        "(B) is incorrect.",
        "B) is not correct",
        "Option B is wrong.",
        "It isn't (B).",
        "The answer isn't B.",
        "anything but (B)",
    ),
    *(
        "I do not think the answer is B.",
        "I don't believe it's (B).",
        "neither A nor B",
        "The answer is neither A nor B.",
    ),
    *(
        "The answer is not A or B.",
        "You can rule out (B).",
        "all except (B)",
        "The answer can't be B",
        "A. Rome is wrong.",
    ),
    *(
        "A or B is right",
        "If the answer is A, then x is 3.",
        "Die Antwort ist nicht B.",
        "B ist falsch.",
        "Nicht B.",
        "weder A noch B",
    ),
    *(
        "Die Antwort ist A oder B.",
        "Antwort: A und C",
        "La réponse n'est pas B.",
        "B est fausse.",
        "A ou B",
        "La réponse est A et C",
    ),
    *(
        "La respuesta no es B.",
        "A y C",
        "La risposta non è B.",
        "A e C",
        "A resposta não é B.",
        "Het antwoord is niet B.",
        "A en C",
    ),
    *(
        "Ответ не B.",
        "B неверно",
        "A или B",
        "Svaret är inte B.",
        "答案不是B。",
        "不是（B）",
        "B错误",
        "A和C",
        "A、C",
        "答案：A、C",
    ),
    *(
        "答えはBではありません。",
        "AとC",
        "Bは間違いです。",
        "정답은 B가 아닙니다.",
        "A와 C",
        "B는 틀렸습니다",
        "الإجابة ليست B",
    ),
    *(
        "The answer is A+.",
        "A-",
        "B+",
        "A-level physics",
        "The answer is A-level.",
        "The answer is B12",
        "Vitamin B is good",
    ),
    *(
        "U.S.A.",
        "A: B",
        "Q: Where?\nA: Paris",
        "<answer>not B</answer>",
        r"\boxed{A, C}",
        r"\boxed{\text{A or B}}",
        "≠B",
        "¬B",
    ),
    *("AC", "BD", "The answer is ABC", "B's answer is unclear", "A dog", "The answer is a matter of taste."),
]


@pytest.mark.parametrize("text", STATED)
def test_a_stated_letter_is_found(text: str) -> None:
    assert extract("letter", text, ABCD) == "B"
    if "B" in text and "b" not in text:
        assert extract("letter", text.replace("B", "D"), ABCD) == "D"


@pytest.mark.parametrize("text", OPEN)
def test_a_letter_that_is_denied_or_one_of_several_is_no_answer(text: str) -> None:
    assert extract("letter", text, ABCD) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3", "3"),
        ("The answer is 3.", "3"),
        ("(3)", "3"),
        ("3) Paris", "3"),
        ("答案是3", "3"),
        ("The answer is 1,200", None),
        ("The answer is 3.5", None),
        ("The answer is 3,5", None),
        ("The answer is -3", None),
        ("The answer is –3", None),
        ("-3", None),
        ("−3", None),
        ("3/4", None),
        ("The answer is 34", None),
        ("The answer is 1st", None),
        ("3 or 4", None),
    ],
)
def test_a_digit_that_is_part_of_a_number_is_no_letter(text: str, found: str | None) -> None:
    assert extract("letter", text, tuple("1234")) == found


@pytest.mark.parametrize(
    ("letters", "text", "found"),
    [
        ("АБВГ", "Правильный ответ: Б", "Б"),
        ("АБВГ", "Ответ — В.", "В"),
        ("АБВГ", "не Б", None),
        ("ABCDEFGHIJ", "The answer is I.", "I"),
        ("ABCDEFGHIJ", "The answer is I think unclear", None),
        ("ABCDE", "Réponse : E", "E"),
        ("ABCDE", "A e E", None),
        ("abcd", "(B)", "b"),
        ("가나다라", "정답: 나", "나"),
        ("甲乙丙丁", "答案：乙", "乙"),
    ],
)
def test_letters_of_other_tasks(letters: str, text: str, found: str | None) -> None:
    assert extract({"letter": letters}, text) == found
