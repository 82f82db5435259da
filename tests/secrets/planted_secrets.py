"""Ways to write a secret: as a literal of SQL, and as the password of a URL."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

secrets = st.text("HunterZq7'\"\\$/?#@:%;-*é\u2013&+,(){}[]=", min_size=9, max_size=24).map(lambda text: f"Hu{text}9q")
"""Long enough that no sentence of ours contains a part of one by chance."""


def literals(secret: str) -> dict[str, str]:
    """Return the literals that PostgreSQL reads as this text, by the name of the spelling."""
    half = len(secret) // 2
    quoted, first, second = (text.replace("'", "''") for text in (secret, secret[:half], secret[half:]))
    escaped = secret.replace("\\", "\\\\").replace("'", "\\'")
    unicode = quoted.replace("\\", "\\\\")
    found = {
        "plain": f"'{quoted}'",
        "national": f"N'{quoted}'",
        "E with backslashes": f"E'{escaped}'",
        "e with doubled quotes": "e'" + secret.replace("\\", "\\\\").replace("'", "''") + "'",
        "E in numbers": "E'" + "".join(f"\\u{ord(sign):04x}" for sign in secret) + "'",
        "E in bytes": "E'" + "".join(f"\\x{byte:02x}" for byte in secret.encode()) + "'",
        "U& as it is": f"U&'{unicode}'",
        "u& in numbers": "u&'" + "".join(f"\\{ord(sign):04X}" for sign in secret) + "'",
        "on two lines": f"'{first}'\n   '{second}'",
        "on two lines with a comment": f"'{first}' -- it's cut $$\n '{second}'",
        "E on two lines": "E'"
        + "'\n'".join(text.replace("\\", "\\\\").replace("'", "\\'") for text in (secret[:half], secret[half:]))
        + "'",
    }
    if "!" not in secret:
        found["U& with another escape"] = f"U&'{quoted}' UESCAPE '!'"
    for tag in ("$$", "$pw$", "$é_1$"):
        if tag not in secret + "$" and not (tag == "$$" and secret.endswith("$")):
            found[f"between {tag}"] = f"{tag}{secret}{tag}"
    return found


def mysql_literals(secret: str) -> dict[str, str]:
    """Return the literals that MySQL reads as this text."""
    escaped = secret.replace("\\", "\\\\")
    return {
        "plain": "'" + escaped.replace("'", "''") + "'",
        "with backslashes": "'" + escaped.replace("'", "\\'") + "'",
        "in double quotes": '"' + escaped.replace('"', '""') + '"',
        "in double quotes with backslashes": '"' + escaped.replace('"', '\\"') + '"',
        "with a character set": "_utf8mb4'" + escaped.replace("'", "''") + "'",
        "national": "N'" + escaped.replace("'", "''") + "'",
    }


def in_urls(secret: str) -> set[str]:
    """Return the spellings in which a URL, a message or a document can have a password."""
    return {
        secret,
        quote(secret, safe=""),
        quote(secret, safe="").lower() if secret.islower() else quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.replace("'", "''"),
    }


def pieces(secret: str) -> set[str]:
    """Return parts of a secret that are long enough to be one."""
    return {secret[start : start + 6] for start in range(len(secret) - 5)}
