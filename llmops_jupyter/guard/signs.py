"""Signs of an attempt to steer a model: named patterns, as inputs of a fitted model and not as verdicts.

Each sign is a yes or no about a sentence (or a few of them). What it is worth is fitted; several are signs of harmless text.
Word lists are of our own writing, in fourteen languages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# Patterns read so much of a piece: pieces are sentences, windows of three, and the beginning of the whole.
READ = 2_000

_DROP = (
    r"(?:\b(?:ignor\w*|disregard\w*|forget\w*|overlook\w*|overrid\w*|bypass\w*|neglect\w*|discard\w*|abandon\w*|circumvent\w*|"
    r"set aside|put aside|throw (?:away|out)|leave behind|erase|wipe|reset|cancel|suspend|drop|skip|void|"
    r"(?:do not|don['’]?t|stop|no longer|never) (?:follow|obey|listen|care|consider|adher|apply|pay|heed|be bound)\w*|"
    r"ignorier\w*|vergiss|vergessen sie|missacht\w*|übergeh\w*|oublie[zr]?|négligez?|ne (?:tiens|tenez) pas compte|"
    r"olvid\w+|omit[ea]\w*|descart\w+|haz caso omiso|dimentica\w*|trascura\w*|esque[cç]\w+|desconsider\w+|negeer|vergeet|"
    r"zignoruj\w*|zapomnij\w*|yok ?say|unut|görmezden|игнорир\w*|забудь\w*|забыть|не обращай\w*|ignorera|glöm|ignorér|glem)|"
    r"忽略|无视|無視|忘记|忘れ|무시|잊어|잊고|अनदेखा|नज़रअंदाज़|भूल जा\w*|تجاهل|انس)"
)
_RULE = (
    r"(?:\b(?:instruction\w*|directive\w*|direction\w*|rules?|guideline\w*|prompts?|commands?|orders?|constraint\w*|"
    r"restriction\w*|safeguard\w*|filters?|limitation\w*|polic(?:y|ies)|programming|training|protocols?|anweisung\w*|regeln|"
    r"vorgaben|consignes?|règles|instrucciones|reglas|istruzion\w+|regole|instruções|regras|instructies|regels|instrukcj\w+|"
    r"polecen\w+|zasad\w*|talimat\w*|kural\w*|инструкци\w*|правил\w*|указани\w*|instruktion\w*)|指令|指示|规则|規則|命令|제한|지시|명령|"
    r"규칙|निर्देश\w*|नियम\w*|التعليمات|تعليمات|القواعد)"
)
_PRIOR = (
    r"(?:\b(?:previous\w*|prior|above|earlier|before|preceding|former|initial|original|existing|foregoing|so far|"
    r"(?:been|were|was) (?:told|said|given|instructed|asked)|you(?:['’]ve| have)? (?:told|learn\w+|know|said)|anything|everything|"
    r"bisherig\w*|vorherig\w*|obig\w*|alles|précédent\w*|ci-dessus|tout ce|anterior\w*|todo lo|precedent\w+|tutto|anteriores|"
    r"vorige|alles|poprzedni\w*|önceki|предыдущ\w*|все|tidigare|tidligere)|之前|以上|上面|前の|これまで|上記|이전|위의|पिछले|السابقة)"
)
_SECRET = (
    r"(?:\b(?:system (?:prompt|message|instructions?)|initial (?:prompt|instructions?)|hidden (?:prompt|instructions?|text|message)|"  # noqa: S105 - words for secrets
    r"(?:secret|security|access|api|private|encryption) ?(?:key|code|word|phrase|token|information)?s?\b|pass ?(?:word|code|phrase|key)s?|"
    r"credentials?|confidential|your (?:instructions|rules|guidelines|prompt|configuration|programming)|geheim\w*|passwor[dt]\w*|"
    r"mot de passe|secr[eè]te?|clave|contraseña|secreto|chiave|segret\w+|senha|segredo|wachtwoord|hasł\w+|şifre|парол\w*|секрет\w*|"
    r"ключ\w*)|密钥|密码|秘密|鍵|パスワード|비밀|암호|पासवर्ड|गुप्त|كلمة السر|السري)"
)
_TELL = (
    r"(?:\b(?:reveal\w*|show|tell|print|output|repeat|display|give|share|expose|disclose|leak|write|list|spell|say|provide|translate|"
    r"summari[sz]e|echo|recite|return|dump|copy|describe|encode|verrat\w*|nenn\w*|zeig\w*|sag\w*|montre\w*|donne\w*|dis|révèle\w*|"
    r"muestra\w*|dime|revela\w*|dimmi|mostra\w*|diga\w*|toon|geef|pokaż|podaj|göster|söyle|покажи\w*|скажи\w*|раскрой\w*)|"
    r"告诉|显示|透露|教えて|見せて|알려|보여|बताओ|बताइए|أخبرني|اكشف)"
)
_AI = r"(?:chat-?gpt|gpt-?\d\w*|llms?|(?:large )?language model|ai|a\.i\.|assistant|chat-?bot|model|claude|gemini|llama|copilot)"
_NOT = r"(?:do not|don['’]?t|never|must not|mustn['’]?t|cannot|can['’]?t|should not|shouldn['’]?t|without|no)"

SIGNS: dict[str, str] = {
    "a dropping word": _DROP,
    "a rule": _RULE,
    "a secret thing": _SECRET,
    "a telling word": _TELL,
    "drop the rules": rf"{_DROP}.{{0,50}}{_RULE}",
    "rules, drop them": rf"{_RULE}.{{0,30}}{_DROP}",
    "drop what came before": rf"{_DROP}.{{0,30}}{_PRIOR}",
    "prior rules": rf"{_PRIOR}.{{0,15}}{_RULE}",
    "tell a secret": rf"{_TELL}.{{0,60}}{_SECRET}",
    "secret, tell it": rf"{_SECRET}.{{0,40}}{_TELL}",
    "what is your secret": rf"\b(?:what|which|wh?ere|qu[ée]|was|wie|какой|quale|qual)\b.{{0,25}}\b(?:your|the|tu|ton|votre|dein\w*|ihr\w*|il tuo|sua|твой)\b.{{0,25}}{_SECRET}",
    "tell the text above": rf"{_TELL}.{{0,40}}\b(?:above|verbatim|word for word|exactly as|everything before|preceding text|conversation so far|first (?:line|sentence|word)s?)\b",
    "you are now": r"\b(?:you are (?:now|no longer|going to)|from now on|you will (?:now )?(?:act|be|become|pretend|play|respond|behave|answer)|you['’]re now|starting now|ab jetzt|ab sofort|du bist (?:jetzt|nun)|désormais|tu es maintenant|a partir de ahora|eres ahora|da ora in poi|a partir de agora|vanaf nu|od teraz|bundan sonra|с этого момента|теперь ты|从现在|今から|이제부터|अब से|من الآن)",
    "play a part": r"\b(?:act (?:as|like)|pretend|role-?play(?:ing)?|impersonate|simulat\w+|immerse yourself|play the (?:role|part)|take on the (?:role|persona)|in character|stay in character|behave (?:as|like)|persona|spiel\w* (?:die|eine) rolle|tu als ob|fais semblant|joue le rôle|finge|actúa como|fai finta|finja|doe alsof|udawaj|притворись|rol yap|扮演|假装|ふりをして|역할)",
    "without limits": rf"(?:{_NOT}|free (?:of|from)|beyond|not bound by|any|all|break\w*|unbound by|lift\w*|remov\w+|disabl\w+)\b.{{0,30}}\b(?:restrict\w+|limit\w*|filter\w*|guideline\w*|censor\w*|ethic\w*|moral\w*|boundar\w+|constraint\w*|safety|content polic\w+|rules)",
    "unbound words": r"\b(?:uncensored|unfiltered|unrestricted|unlimited|jail ?-?break\w*|do anything now|amoral|unethical|illegal(?:ity)?|nsfw|no matter (?:what|how)|d\.?a\.?n\.?\b|evil|anti-?gpt)",
    "mode": r"\b(?:developer|debug|admin\w*|maintenance|god|sudo|root|override|diagnostic|test(?:ing)?|privileged|superuser|opposite|safe|system)[ -]?(?:mode|access|override|console|shell|menu)\b|\bmode (?:enabled|activated|on)\b|\bsudo\b",
    "marks of a chat": r"<\|?(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)|\[/?(?:inst|sys|system)\]|<</?sys>>|^\W{0,4}(?:system|assistant|user|human|admin)(?: message| prompt| note)?\s*[:\]>]|\"role\"\s*:|</?(?:system|instructions?|prompt|admin)>|#{2,}\s*(?:system|instruction|new|end|user|response)|-{3,} ?(?:end|begin|start)",
    "new orders": r"\b(?:new|updated?|real|actual|true|revised|following|next|neue|nouvelles?|nuevas?|nuove|novas) (?:\w+ )?(?:instructions?|tasks?|directives?|rules?|orders?|commands?|prompts?|role|anweisung\w*|aufgabe|consignes?|instrucciones|istruzioni|instruções)\b",
    "instead": r"\b(?:instead|rather than|stattdessen|au lieu|à la place|en (?:su )?lugar|en vez|invece|em vez|in plaats|zamiast|bunun yerine|вместо)\b",
    "answer just so": r"\b(?:respond|reply|answer|start|begin|end|finish|output|say|write|print|return)\w*\b.{0,25}\b(?:only|just|with|exactly|nothing but|nothing else|the following|the (?:word|phrase|sentence))\b",
    "never refuse": rf"\b{_NOT}\b.{{0,12}}\b(?:refus\w+|declin\w+|apologi\w+|warn\w*|disclaim\w*|lectur\w+|break character|say(?:ing)? no|reject\w*|hesitat\w+|sorry|judg\w+|object\w*)",
    "keep it from the user": rf"\b{_NOT}\b.{{0,12}}\b(?:tell|mention|reveal|inform|alert|show|notify|explain|disclose|let|acknowledge|refer)\w*\b.{{0,30}}\b(?:user|anyone|human|owner|customer|reader|them|this|these|him|her)\b",
    "named model": rf"\b{_AI}\b",
    "to the model": rf"\b(?:dear|hey|hi|hello|attention|note to|message (?:to|for)|instructions? (?:to|for)|as an?|you are an?|you['’]re an?|if you are an?)\b.{{0,15}}\b{_AI}\b",
    "model must": rf"\b(?:{_AI}|you|it|dan)\b (?:must|shall|will always|have to|need to|are required to|are (?:obligated|obliged|forced) to|can do anything|never say)",
    "comply": r"\b(?:comply|obey|compliance|obedien\w+|do (?:as|what(?:ever)?) i (?:say|ask|tell)|fulfil\w*|follow (?:my|these|the following|all my)|listen (?:only )?to me)\b",
    "send out": r"\b(?:send|forward|e-?mail|post|upload|append|transmit|submit|copy|attach|exfiltrate|leak)\w*\b.{0,60}(?:https?://|\b\w+@\w|\bwebhook|\bapi key|\bpasswords?|\bconversation|\bchat history|\bcontacts|\bcredentials)",
    "image with a query": r"!\[[^\]]*\]\(https?://|<img[^>]+src|\?(?:q|data|d|text|c)=\{?",
    "use a tool": r"\b(?:call|run|execute|invoke|trigger|use)\b.{0,25}\b(?:function|tool|command|shell|script|code|plugin|api|query|terminal)\b|rm -rf|drop table|curl |wget |os\.system|subprocess",
    "pieces of text": r"\b[a-z]\w{0,8} ?= ?[\"'“]|\b[a-z] ?\+ ?[a-z]\b|concatenat|\bcombine\b.{0,20}\b(?:strings?|parts?|letters?|words?)",
    "codes": r"\b(?:base ?64|rot ?-?13|cipher|morse|hexadecimal|binary|ascii|leetspeak|pig latin|caesar|emojis?|decod\w+|encod\w+|backwards?|reversed?|letter by letter|every other|first letter|rhym\w+|acrostic)\b",
    "who I am": r"\b(?:i['’]?m|i am|this is|as|we are|speaking as)\b.{0,12}\b(?:your|the|an?)\b.{0,16}\b(?:developer|admin\w*|creator|owner|engineer|programmer|openai|authorized|supervisor|boss|manager|security team|ceo|maker|tester)\b",
    "pressure": r"\b(?:tip you|\$\d+|reward|points|tokens|die|killed|grandm\w+|emergency|life depends|lives|fired|urgent\w*|important|please|beg|trust me|promise|permission|authori[sz]ed|allowed|critical)\b",
    "a story": r"\b(?:hypothetic\w+|fiction\w*|imagin\w+|story|stories|novel|scenario|game|poem|song|screenplay|character|dream|parallel universe|world where|movie|script|dialogue|virtual)\b",
    "a telling word first": rf"^\W{{0,4}}(?:please |kindly |now |then |can you |could you )?{_TELL}\b",
    "question of how": r"^\W{0,3}(?:how (?:do|can|should|would|to|does|did)|is (?:it|there)|are there|should (?:i|we)|can (?:i|we)|why|when|where|who|wie|comment|cómo|come|как)\b",
    "question of what": r"^\W{0,3}(?:what|which|was|quel|qué|cosa|что)\b",
    "task word first": r"^\W{0,3}(?:please |kindly |can you |could you )?(?:explain|describe|discuss|write|create|draft|compose|generate|list|provide|suggest|design|develop|analy[sz]e|compare|outline|recommend|identify|classify|rewrite|edit|calculate|convert|find|make|give|name|define|evaluate|translate|summari[sz]e|produce|determine|help|choose|construct|plan|propose|brainstorm|proofread|paraphrase|transform|correct|build|arrange|sort|select|solve|replace|encode|decode|add|change|research|tell)\b",
    "about software": r"\b(?:python|javascript|java|sql|git|linux|docker|compiler|linter|pytest|function|variable|class|database|server|browser|excel|regex|api|css|html|config\w*|terminal|repository|unit test|code|script|error|exception|bug|warning)s?\b",
    "about attacks": r"\b(?:attack\w*|injection\w*|adversar\w+|vulnerab\w+|red team\w*|defen[cs]e\w*|detect\w*|security|researchers?|paper|article|example|examples|phrases?|such as|known as|called|titled)\b",
    "quoted": r"[\"“«„][^\"”»“]{12,}[\"”»“]|`[^`]{6,}`",
    "first person": r"\b(?:i|my|me|we|our|us)\b",
    "to you": r"\b(?:you|your|yourself|du|dein\w*|tu|ton|vous|votre|usted|você|ты|вы|你|您|あなた)\b",
    "a question mark": r"\?\s*$|？",
    "polite end": r"\b(?:thanks|thank you|regards|sincerely|cheers|best wishes|unsubscribe|privacy policy|copyright|all rights reserved)\b",
    "capitals": r"\b[A-Z]{4,}\b.{0,60}\b[A-Z]{4,}\b",
    "a list": r"(?m)^\s*(?:[-*•]|\d+[.)])\s",
    "a link": r"https?://|www\.",
    "other script": r"[\u0370-\uffff]{4,}",
}
# Patterns of two words are looked for only where the rarer one is.
_NEEDS = {
    "drop the rules": ("a dropping word", "a rule"),
    "rules, drop them": ("a dropping word", "a rule"),
    "drop what came before": ("a dropping word",),
    "prior rules": ("a rule",),
    "tell a secret": ("a secret thing", "a telling word"),
    "secret, tell it": ("a secret thing", "a telling word"),
    "what is your secret": ("a secret thing",),
    "tell the text above": ("a telling word",),
}
# Only this one tells capitals from small letters; the others read the text lower-cased.
_CAPITALS = "capitals"
_PLACES = {name: place for place, name in enumerate(SIGNS)}
_COMPILED = tuple(
    (
        _PLACES[name],
        re.compile(pattern, re.DOTALL),
        tuple(_PLACES[need] for need in _NEEDS.get(name, ())),
        name == _CAPITALS,
    )
    for name, pattern in SIGNS.items()
)
_WORD = re.compile(r"\w+")
# Figures after the signs: length, few different words, characters that are no letters.
FIGURES = 4
COUNT = len(SIGNS) + FIGURES + 1
# The last column: the piece was hidden in an encoding. Whoever has pieces sets it.
HIDDEN = COUNT - 1


def digest() -> str:
    """What the signs are made of: weights fit only the signs that they were made on."""
    return hashlib.sha256(repr((list(SIGNS.items()), FIGURES, READ)).encode()).hexdigest()


def signs(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """One row for each text: 1.0 for each sign that it has, then four figures from 0 to 1, and a last column of 0."""
    import numpy as np

    found = np.zeros((len(texts), COUNT), dtype=np.float32)
    for place, text in enumerate(texts):
        read = text[:READ]
        low = read.lower()
        there: set[int] = set()
        for column, pattern, needs, capitals in _COMPILED:
            if there.issuperset(needs) and pattern.search(read if capitals else low) is not None:
                there.add(column)
        found[place, list(there)] = 1.0
        found[place, len(SIGNS) : HIDDEN] = _figures(read, len(text))
    return found


def _figures(read: str, length: int) -> tuple[float, float, float, float]:
    words = _WORD.findall(read.lower())
    letters = sum(map(str.isalpha, read))
    gaps = sum(map(str.isspace, read))
    return (
        min(length, 2_000) / 2_000,
        min(len(words), 20) / 20,
        1.0 - len(set(words)) / len(words) if words else 0.0,
        1.0 - (letters + gaps) / len(read) if read else 0.0,
    )
