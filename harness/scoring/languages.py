# ruff: noqa: E501 (a cell of the table stands on one line)
"""How answers are stated and denied, by language: the one table that the extractors of letters and labels read.

A line is a language; each cell holds alternatives, parted by bars, in lower case, as a regular expression writes them.
Another language is another line. Languages are read together: whoever answers in one does not say in which.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phrases:
    """Words of one language. Those of languages that set no spaces stand beside a letter or label without any."""

    answer: str  # what is stated: "answer", "option"
    states: str  # what stands between it and the letter: "is", "would be"
    chooses: str  # what one does with an option: "choose", "go with"
    right: str  # what follows a letter that is the answer: "is correct"
    wrong: str  # what follows one that is not: "is wrong", "is not"
    denies: str  # what stands before one that is not: "not", "never"
    between: str  # what may stand between a denial and what it denies: "the", "about"
    also: str  # what joins several: "and", "or"
    but: str  # what turns from the denied to the right: "but"
    because: str  # what may follow a letter: "because", "since"


ENGLISH = Phrases(
    answer=r"answer|ans|choice|option|solution|letter|response|label|category",
    states=r"is|would be|should be|must be|has to be|will be|was|being",
    chooses=r"choose|choosing|chose|pick|picking|select|selecting|go with|going with|opt for|answer with",
    right=r"is (?:(?:the|most|clearly|definitely|indeed|therefore|thus|also) ){0,2}(?:correct|right|best|true|answer)",
    wrong=r"(?:is|was|are|seems|would be|looks)(?: \w+)? (?:not|n't|wrong|incorrect|false|out|excluded|eliminated|invalid)"
    r"|(?:isn|wasn|aren|doesn|can|couldn|won)'?t\b|(?:is|was|are|does|do|cannot|can|could) ?not"
    r"|can be (?:ruled out|eliminated|excluded)|wrong|incorrect|false|no,",
    denies=r"not|n't|never|neither|nor|cannot|hardly|barely|scarcely|far from|anything but|rather than|instead of"
    r"|except|excludes?|excluding|rules? out|ruling out|eliminates?|eliminating|by no means|in no way|without|non|wrong"
    r"|no longer|no",
    between=r"the|a|an|about|at|all|really|actually|necessarily|be|being|is|it|it's|that|this|to|of|in|any|option|choice"
    r"|answer|letter|choose|pick|select|think|believe|say|call|consider|considered|correct|even|either|related|label"
    r"|as|as an|would|should|case|issue with|go with|for|quite|very|exactly|just|only",
    also=r"and|or|as well as|and/or|along with|plus",
    but=r"but|rather|instead",
    because=r"because|since|as|so|due to",
)
GERMAN = Phrases(
    answer=r"antwort|antwortmöglichkeit|lösung|option|wahl|buchstabe|auswahl",
    states=r"ist|lautet|wäre|muss|heißt|heisst|sein",
    chooses=r"wähle|nehme|entscheide mich für",
    right=r"stimmt(?! nicht)|trifft zu|(?:ist|wäre)(?: (?:die|das|am))? (?:richtig\w*|korrekt\w*|beste\w*|zutreffend\w*|wahr|antwort|lösung)",
    wrong=r"(?:ist|wäre|stimmt|scheidet|trifft|passt|kommt)(?: \w+){0,2} (?:nicht|aus|falsch|kein\w*|unzutreffend|zu nicht)|falsch",
    denies=r"nicht|kein|keine|keinen|keiner|keines|keinem|weder|noch|nie|niemals|keinesfalls|keineswegs|kaum|ohne|statt"
    r"|anstatt|alles andere als|nein",
    between=r"der|die|das|den|dem|ein|eine|einen|um|für|so|wirklich|ganz|unbedingt|antwort|option|ist|sein|als|mit|von|zu",
    also=r"und|oder|sowie|bzw\.?",
    but=r"sondern|aber|vielmehr",
    because=r"weil|da|denn",
)
FRENCH = Phrases(
    answer=r"réponse|choix|option|solution|lettre",
    states=r"est|n'est|serait|doit être",
    chooses=r"choisis|choisirais|sélectionne|opte pour|prends",
    right=r"est (?:(?:la|le|bien) )?(?:bonne |bon )?(?:correcte?|exacte?|juste|vraie?|réponse|choix|bonne)",
    wrong=r"(?:n'|ne )?(?:est|sont|serait|convient) (?:pas|fausse?|incorrecte?|inexacte?|erronée?|à exclure)|fausse?",
    denies=r"pas|ni|non|jamais|aucun|aucune|guère|loin d'être|loin de|sans|plutôt que|au lieu de|sauf|n'est",
    between=r"la|le|les|l'|un|une|de|du|des|d'|d'un|d'une|vraiment|du tout|réponse|option|est|être|que|à",
    also=r"et|ou|ainsi que",
    but=r"mais|plutôt",
    because=r"car|parce|puisque",
)
SPANISH = Phrases(
    answer=r"respuesta|opción|solución|alternativa|letra|elección",
    states=r"es|sería|debe ser|debería ser",
    chooses=r"elijo|escojo|elegiría|selecciono|opto por|elige",
    right=r"es (?:la |el )?(?:respuesta |opción )?(?:correct[ao]|verdader[ao]|ciert[ao]|mejor|respuesta)",
    wrong=r"(?:no|tampoco) (?:es|son|sería|puede)|(?:es|son|sería) (?:falsa?o?|incorrect[ao]|erróne[ao])|incorrect[ao]",
    denies=r"no|ni|nunca|jamás|tampoco|ningún|ninguna|lejos de|sin|en lugar de|en vez de|salvo|excepto",
    between=r"la|el|los|las|un|una|de|del|es|ser|sea|opción|respuesta|nada|muy|realmente|que|por",
    also=r"y|e|o|u|así como",
    but=r"sino|pero|más bien",
    because=r"porque|ya|pues|debido",
)
ITALIAN = Phrases(
    answer=r"risposta|opzione|scelta|soluzione|alternativa|lettera",
    states=r"è|e'|sarebbe|dovrebbe essere|deve essere",
    chooses=r"scelgo|sceglierei|seleziono|opto per",
    right=r"(?:è|e') (?:la |quella )?(?:risposta |opzione )?(?:corrett[ao]|giust[ao]|esatt[ao]|ver[ao]|migliore|risposta)",
    wrong=r"non (?:è|e'|sono|sarebbe|può)|(?:è|e'|sono) (?:fals[ao]|sbagliat[ao]|errat[ao]|scorrett[ao])|sbagliat[ao]|errat[ao]",
    denies=r"non|né|ne|mai|nessun|nessuna|tutt'altro che|lontano da|senza|invece di|piuttosto che|tranne|no",
    between=r"la|il|lo|l'|un|una|di|del|della|è|essere|sia|opzione|risposta|affatto|davvero|che|per",
    also=r"e|ed|o|oppure",
    but=r"ma|bensì|piuttosto",
    because=r"perché|poiché|siccome",
)
PORTUGUESE = Phrases(
    answer=r"resposta|opção|alternativa|solução|letra|escolha",
    states=r"é|seria|deve ser",
    chooses=r"escolho|escolheria|seleciono|opto por",
    right=r"é (?:a |o )?(?:resposta |opção |alternativa )?(?:corret[ao]|cert[ao]|verdadeir[ao]|melhor|resposta)",
    wrong=r"(?:não|nem) (?:é|são|seria|pode)|(?:é|são|está) (?:fals[ao]|incorret[ao]|errad[ao])|incorret[ao]|errad[ao]",
    denies=r"não|nem|nunca|jamais|nenhum|nenhuma|longe de|sem|em vez de|exceto",
    between=r"a|o|os|as|um|uma|de|do|da|é|ser|seja|opção|resposta|alternativa|nada|muito|realmente|que",
    also=r"e|ou|bem como",
    but=r"mas|e sim|senão",
    because=r"porque|pois|já",
)
DUTCH = Phrases(
    answer=r"antwoord|optie|keuze|oplossing|letter",
    states=r"is|luidt|zou zijn|moet zijn",
    chooses=r"kies|kies voor|selecteer|neem",
    right=r"is (?:het |de )?(?:juist\w*|correct\w*|goed\w*|beste|waar|antwoord)",
    wrong=r"(?:is|zijn|klopt|kan) (?:niet|fout|onjuist|verkeerd|geen)|fout|onjuist",
    denies=r"niet|geen|noch|nooit|nauwelijks|allerminst|zonder|in plaats van|behalve|nee",
    between=r"de|het|een|over|om|echt|helemaal|optie|antwoord|is|zijn|als|met|van",
    also=r"en|of|alsook",
    but=r"maar|wel",
    because=r"omdat|want|aangezien",
)
NORDIC = Phrases(  # Swedish, Danish, Norwegian
    answer=r"svar|svaret|alternativ|alternativet|svarsalternativ|valg|mulighed",
    states=r"är|er|blir|bliver",
    chooses=r"väljer|velger|vælger",
    right=r"(?:är|er) (?:det |den )?(?:rätt\w*|korrekt\w*|rigtig\w*|riktig\w*|bäst\w*|svaret)",
    wrong=r"(?:är|er) (?:inte|ikke|ej|fel|feil|forkert|falsk\w*|galt)|fel|feil|forkert",
    denies=r"inte|ej|icke|ikke|ingen|inget|inga|intet|varken|verken|hverken|aldrig|aldri|knappast|knapt|nej|nei",
    between=r"det|den|en|ett|et|om|alternativ|svaret|är|er|som|alls|rigtig",
    also=r"och|og|eller|samt",
    but=r"utan|men|uden",
    because=r"eftersom|för|fordi|då",
)
POLISH_CZECH = Phrases(
    answer=r"odpowiedź|odpowiedzią|opcja|rozwiązanie|wybór|odpověď|odpovědí|možnost|volba|odpoveď",
    states=r"jest|brzmi|je|zní",
    chooses=r"wybieram|volím|vybírám",
    right=r"(?:jest|je) (?:prawidłow[ay]|poprawn[aye]|właściw[ay]|správn[áýě]|odpowiedzią)",
    wrong=r"(?:nie|ne) (?:jest|je)|není|(?:jest|je) (?:błędn[ay]|niepoprawn[ay]|fałszyw[ay]|špatn[áě]|nesprávn[áě])|špatně",
    denies=r"nie|ani|nigdy|żaden|żadna|ne|není|nikdy|žádný|žádná|bez",
    between=r"jest|je|to|opcja|odpowiedź|možnost|wcale|vůbec|o",
    also=r"i|oraz|lub|albo|czy|a|nebo|či",
    but=r"lecz|ale|tylko|nýbrž",
    because=r"ponieważ|bo|gdyż|protože|neboť",
)
RUSSIAN = Phrases(  # and Ukrainian
    answer=r"ответ|ответом|вариант|выбор|решение|відповідь|варіант|відповіддю",
    states=r"это|является|будет|є|це|под буквой|под номером",
    chooses=r"выбираю|выберу|выбрал|обираю",
    right=r"(?:является |это |— |- )?(?:правильн\w+|верн\w+|верно|правильно|вірн\w+)",
    wrong=r"(?:не|не является|— не|не є) ?(?:верно|верен|правильно|правильн\w+|верн\w+|подходит|вірн\w+)|неверн\w+|неправильн\w+|ошибочн\w+",
    denies=r"не|ни|нет|никогда|нельзя|вовсе не|без|кроме|вместо|ні|немає",
    between=r"это|является|вариант|ответ|о|про|самый|очень|совсем",
    also=r"и|или|либо|а также|та|або|й",
    but=r"а|но|зато",
    because=r"потому|так как|поскольку|ведь|тому|бо",
)
TURKISH_AND_OTHERS = Phrases(  # Turkish, Hungarian, Romanian, Finnish, Indonesian, Vietnamese
    answer=r"cevap|yanıt|seçenek|válasz|megoldás|răspunsul|răspuns|varianta|vastaus|vaihtoehto|jawaban|jawabannya|pilihan|đáp án|câu trả lời",
    states=r"este|adalah|ialah|là",
    chooses=r"seçiyorum|választom|aleg|valitsen|memilih|chọn",
    right=r"(?:şıkkı |seçeneği )?doğru(?:dur)?|helyes|este corect\w*|on oikein|benar|đúng",
    wrong=r"değil\w*|yanlış\w*|nem helyes|helytelen|nu este|este greșit\w*|ei ole|on väärin|salah|sai",
    denies=r"nem|nici|nu|ei|eikä|bukan|tidak|không|không phải",
    between=r"a|az|este|ole|adalah|là|yang",
    also=r"ve|veya|ya da|és|vagy|și|sau|ja|tai|dan|atau|và|hoặc",
    but=r"hanem|ci|vaan|melainkan|tetapi|mà",
    because=r"çünkü|mert|deoarece|koska|karena|vì",
)
SPACED = (
    *(ENGLISH, GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE, DUTCH, NORDIC, POLISH_CZECH, RUSSIAN),
    TURKISH_AND_OTHERS,
)

CHINESE = Phrases(
    answer=r"答案|正确选项|正確選項|选项|選項|选择|選擇|正解|答",
    states=r"应该是|應該是|应为|應為|是|为|為|选|選",
    chooses=r"我选择|我選擇|我选|我選|选择|選擇|应选|應選|故选|故選|选|選",
    right=r"(?:项|項|选项|選項)?(?:是)?(?:正确|正確|对的|對的)",
    wrong=r"(?:项|項|选项|選項)?(?:是)?(?:不正确|不正確|不对|不對|错误|錯誤|错的|錯的|不是)",
    denies=r"不是|并非|並非|不选|不選|不属于|不屬於|不应选|不能选|不可能是|绝非|沒有|没有|不|非|无|無|未",
    between=r"选项|選項|选|選|很|太|是",
    also=r"和|或者|或|与|與|及|以及|、",
    but=r"而是|但是|但|应该是",
    because=r"因为|因為|由于",
)
JAPANESE = Phrases(
    answer=r"答えは|答え|正解は|正解|回答は|回答|解答は|解答|選択肢",
    states=r"は|が",
    chooses=r"私は",
    right=r"(?:が|は)(?:正解|正しい|正答|適切)|を選(?:びます|択します|ぶ)",
    wrong=r"(?:が|は|で)?(?:不正解|間違い|誤り|正しくない|ではない|ではありません|じゃない|でない|では無い)",
    denies=r"非|不|無",
    between=r"の",
    also=r"と|や|または|もしくは|及び|か",
    but=r"ではなく|でなく",
    because=r"なぜなら|から|ので",
)
KOREAN = Phrases(
    answer=r"정답은|정답|답은|답|답변은|답변|선택지",
    states=r"은|는|이",
    chooses=r"저는",
    right=r"(?:이|가|번이|번)? ?(?:정답|맞습니다|맞다|옳습니다|옳다|올바릅니다)|(?:을|를) 선택",
    wrong=r"(?:이|가|은|는)? ?(?:아닙니다|아니다|아니며|아니고|아님|아닌|아니라|틀렸\w*|틀립니다|오답\w*|않습니다|않다)",
    denies=r"비",
    between=r"의",
    also=r"와|과|또는|혹은|및|하고",
    but=r"아니라",
    because=r"왜냐하면|때문",
)
ARABIC_HINDI = Phrases(  # and Hebrew: after the letter or before it
    answer=r"الإجابة|الجواب|الخيار|الاجابة|उत्तर|जवाब|विकल्प|התשובה|תשובה",
    states=r"هي|هو|الصحيحة هي|है|היא|הנכונה היא",
    chooses=r"أختار|אני בוחר",
    right=r"صحيح\w*|सही है|נכונה|נכון",
    wrong=r"(?:خطأ|غير صحيح\w*|خاطئ\w*)|गलत है|नहीं(?: है)?|(?:לא נכונ\w*|שגוי\w*)",
    denies=r"ليس|ليست|لا|غير|बिना|לא|אינה|אינו",
    between=r"هي|هو|ال",
    also=r"و|أو|और|या|או",
    but=r"بل|लेकिन|बल्कि|אלא",
    because=r"لأن|क्योंकि|כי",
)
UNSPACED = (CHINESE, JAPANESE, KOREAN, ARABIC_HINDI)


def any_of(cell: str, languages: tuple[Phrases, ...] = (*SPACED, *UNSPACED)) -> str:
    """Returns one expression for a cell of the table in all of these languages, the longest alternatives first."""
    alternatives = {one for phrases in languages for one in _split(getattr(phrases, cell))}
    return "|".join(sorted(alternatives, key=lambda one: (-len(one), one))).replace(" ", r"\s")


LATIN = r"A-Za-zÀ-ɏͰ-ӿ"  # letters that make one beside them part of a word; other scripts set no spaces


def words_of(*cells: str) -> str:
    """Returns one expression for cells of the table: in some languages a word of its own, in others none."""
    spaced, unspaced = ("|".join(any_of(cell, part) for cell in cells) for part in (SPACED, UNSPACED))
    return rf"(?:(?<![{LATIN}])(?:{spaced})(?![{LATIN}])|(?:{unspaced}))"


def _split(cell: str) -> list[str]:
    """Returns the alternatives of a cell: what stands between bars that are in no bracket."""
    parts, depth = [""], 0
    for c in cell:
        depth += {"(": 1, ")": -1}.get(c, 0)
        if c == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts
