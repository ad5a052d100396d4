"""The codes of the AI Hub emotional dialogue corpus (감성대화말뭉치, AI Hub data set 86), and their names. No I/O.

The label of a dialogue is one of 60 emotion codes, for its first human sentence (HS01). The tens digit is the group.
All tables have codes as keys: names repeat between groups and differ between editions. The English names are this project's translation.
"""

import unicodedata
from functools import cache
from typing import NamedTuple


class Name(NamedTuple):
    korean: str
    english: str


GROUPS = {
    "E1": Name("분노", "anger"),
    "E2": Name("슬픔", "sadness"),
    "E3": Name("불안", "anxiety"),
    "E4": Name("상처", "hurt"),
    "E5": Name("당황", "fluster"),
    "E6": Name("기쁨", "joy"),
}
JOY = "E6"

EMOTIONS = {
    "E10": Name("분노", "anger"),
    "E11": Name("툴툴대는", "grumbling"),
    "E12": Name("좌절한", "frustrated"),
    "E13": Name("짜증내는", "irritated"),
    "E14": Name("방어적인", "defensive"),
    "E15": Name("악의적인", "spiteful"),
    "E16": Name("안달하는", "fretting"),
    "E17": Name("구역질 나는", "sickened"),
    "E18": Name("노여워하는", "indignant"),
    "E19": Name("성가신", "annoyed"),
    "E20": Name("슬픔", "sadness"),
    "E21": Name("실망한", "disappointed"),
    "E22": Name("비통한", "grief-stricken"),
    "E23": Name("후회되는", "regretful"),
    "E24": Name("우울한", "depressed"),
    "E25": Name("마비된", "numb"),
    "E26": Name("염세적인", "pessimistic"),
    "E27": Name("눈물이 나는", "tearful"),
    "E28": Name("낙담한", "dejected"),
    "E29": Name("환멸을 느끼는", "disillusioned"),
    "E30": Name("불안", "anxiety"),
    "E31": Name("두려운", "afraid"),
    "E32": Name("스트레스 받는", "stressed"),
    "E33": Name("취약한", "vulnerable"),
    "E34": Name("혼란스러운", "confused"),
    "E35": Name("당혹스러운", "bewildered"),
    "E36": Name("회의적인", "sceptical"),
    "E37": Name("걱정스러운", "worried"),
    "E38": Name("조심스러운", "cautious"),
    "E39": Name("초조한", "on edge"),
    "E40": Name("상처", "hurt"),
    "E41": Name("질투하는", "jealous"),
    "E42": Name("배신당한", "betrayed"),
    "E43": Name("고립된", "isolated"),
    "E44": Name("충격 받은", "shocked"),
    "E45": Name("가난한, 불우한", "poor, deprived"),
    "E46": Name("희생된", "victimised"),
    "E47": Name("억울한", "wronged"),
    "E48": Name("괴로워하는", "tormented"),
    "E49": Name("버려진", "abandoned"),
    "E50": Name("당황", "fluster"),
    "E51": Name("고립된(당황한)", "isolated (flustered)"),
    "E52": Name("남의 시선을 의식하는", "self-conscious"),
    "E53": Name("외로운", "lonely"),
    "E54": Name("열등감", "inferiority"),
    "E55": Name("죄책감의", "guilty"),
    "E56": Name("부끄러운", "ashamed"),
    "E57": Name("혐오스러운", "repelled"),
    "E58": Name("한심한", "pathetic"),
    "E59": Name("혼란스러운(당황한)", "confused (flustered)"),
    "E60": Name("기쁨", "joy"),
    "E61": Name("감사하는", "grateful"),
    "E62": Name("신뢰하는", "trusting"),
    "E63": Name("편안한", "at ease"),
    "E64": Name("만족스러운", "satisfied"),
    "E65": Name("흥분", "excitement"),
    "E66": Name("느긋", "relaxed"),
    "E67": Name("안도", "relief"),
    "E68": Name("신이 난", "elated"),
    "E69": Name("자신하는", "confident"),
}

AGES = {
    "A01": Name("청소년", "adolescent"),
    "A02": Name("청년", "young adult"),
    "A03": Name("중년", "middle-aged"),
    "A04": Name("노년", "elderly"),
}
GENDERS = {"G01": Name("남성", "male"), "G02": Name("여성", "female")}
SITUATIONS = {
    "S01": Name("가족관계", "family"),
    "S02": Name("학업 및 진로", "studies and career path"),
    "S03": Name("학교폭력/따돌림", "school violence, bullying"),
    "S04": Name("대인관계", "personal relations"),
    "S05": Name("연애,결혼,출산", "dating, marriage, childbirth"),
    "S06": Name("진로,취업,직장", "career, finding work, workplace"),
    "S07": Name("대인관계(부부, 자녀)", "relations (spouse, children)"),
    "S08": Name("재정,은퇴,노후준비", "finances, retirement, old age"),
    "S09": Name("건강", "health"),
    "S10": Name("직장, 업무 스트레스", "stress at work"),
    "S11": Name("건강,죽음", "health, death"),
    "S12": Name("대인관계(노년)", "relations in old age"),
    "S13": Name("재정", "finances"),
}

OLDER_NAMES = {  # of older editions of the corpus, if they differ in more than blanks
    "짜증나는": "E13",
    "눈물나는": "E27",
    "불우한": "E45",
    "고립된": "E51",
    "남의 시선 의식": "E52",
    "죄책감": "E55",
    "혼란스러운": "E59",
    "사랑하는": "E62",
    "흥분되는": "E65",
    "느긋한": "E66",
    "안도하는": "E67",
}
TABLE_COLUMNS = ("사람문장1", "감정_대분류", "감정_소분류")  # of the XLSX editions: first human sentence, group, emotion


def code_of(label: str) -> str | None:
    """Return the code that a label means, or None. Blanks do not count.

    A label is a code, or `group/name` as in the XLSX files of any edition.
    """
    return label if label in EMOTIONS else _code_by_names().get("".join(unicodedata.normalize("NFC", label).split()))


@cache
def _code_by_names() -> dict[str, str]:
    named = [*((name.korean, code) for code, name in EMOTIONS.items()), *OLDER_NAMES.items()]
    return {"".join(f"{GROUPS[code[:2]].korean}/{name}".split()): code for name, code in named}
