"""Checksums and number ranges that tell a real identifier from a row of digits."""

from __future__ import annotations

import ipaddress
from itertools import groupby

# ISO 13616: length of an IBAN by country, as in SWIFT's registry.
_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 "
    "DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 "
    "IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 "
    "MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 "
    "SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}

# ISO/IEC 7812: first and last prefix of an issuer, and the lengths of its numbers.
_ISSUERS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),  # Mastercard
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),  # American Express
    ("300", "305", (14, 16)),  # Diners Club
    ("309", "309", (14, 16)),  # Diners Club
    ("36", "36", (14, 16)),  # Diners Club
    ("38", "39", (14, 16)),  # Diners Club
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),  # Discover
    ("35", "35", tuple(range(16, 20))),  # JCB
    ("1800", "1800", (15,)),  # JCB
    ("2131", "2131", (15,)),  # JCB
    ("62", "62", tuple(range(16, 20))),  # UnionPay
    ("50", "50", tuple(range(12, 20))),  # Maestro
    ("56", "58", tuple(range(12, 20))),  # Maestro
    ("6304", "6304", tuple(range(12, 20))),  # Maestro
    ("6759", "6763", tuple(range(12, 20))),  # Maestro
)

_DOUBLED = dict(zip("0123456789", (0, 2, 4, 6, 8, 1, 3, 5, 7, 9), strict=True))


def is_card_number(digits: str) -> bool:
    """Whether digits are a payment card's: an issuer's prefix and length, and Luhn's checksum."""
    return luhn(digits) and any(
        len(digits) in lengths and low <= digits[: len(low)] <= high
        for low, high, lengths in _ISSUERS
    )


def luhn(digits: str) -> bool:
    """Luhn's checksum (ISO/IEC 7812-1, annex B) over a text of digits; a row of zeros is refused."""
    total = sum(map(int, digits[::-2])) + sum(_DOUBLED[d] for d in digits[-2::-2])
    return total > 0 and total % 10 == 0


def is_iban(text: str) -> bool:
    """Whether letters and digits without spaces are an IBAN: country, length and mod 97 (ISO 7064)."""
    text = text.upper()
    if IBAN_LENGTHS.get(text[:2]) != len(text) or not (text.isascii() and text.isalnum()):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def is_us_ssn(area: str, group: str, serial: str) -> bool:
    """Whether three groups of digits lie in the ranges that the US administration gives out."""
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address in dotted form."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address; short forms such as ``::1`` or ``a::b`` do not count.

    They name no machine of a person, and look like scopes in source code.
    """
    digits = sum(c.isalnum() for c in text)
    if digits < 5 or not any(c.isdigit() for c in text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_phone_number(text: str) -> bool:
    """Whether a text that is laid out as a phone number has as many digits, and not all the same."""
    digits = [c for c in text if c.isdigit()]
    return 7 <= len(digits) <= 15 and len(list(groupby(digits))) > 2
