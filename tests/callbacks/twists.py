"""Ways to twist a message that hold for more than one network: signatures, forms, sizes.

Each table goes from a name, which becomes a test's id, to how it is done.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from urllib.parse import parse_qsl, quote, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from app.providers.base import Inbound
from tests.providers.contract import NOW

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
READ_BYTES_MAX = 65_536  # what adapters read

Pairs = list[tuple[str, str]]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def posted(fields: Mapping[str, str] | Pairs, encoding: str = "utf-8") -> Inbound:
    """A form of exactly these fields, in this order."""
    return Inbound(FORM, urlencode(fields, encoding=encoding).encode("ascii"), NOW)


def with_body(sent: Inbound, body: bytes, **headers: str) -> Inbound:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Inbound({**sent.headers, **more}, body, sent.received_at, sent.query)


def with_query(sent: Inbound, query: str) -> Inbound:
    return Inbound(sent.headers, sent.body, sent.received_at, query)


def padded(body: bytes, size: int) -> bytes:
    """The form with an unsigned field that makes it exactly so many bytes."""
    return body + b"&pad=" + b"x" * (size - len(body) - 5)


def cuts(pairs: Pairs) -> Iterator[tuple[str, bytes]]:
    """The form ending behind each "&" and each "=", and before each "&"; its last pair is never whole."""
    done = b""
    for name, value in pairs:
        start = done + (b"&" if done else b"")
        if done:
            yield f"cut before {name}", done
            yield f"cut after the ampersand before {name}", start
        yield f"cut after {name}=", start + name.encode() + b"="
        done = start + urlencode({name: value}).encode()


# name -> (the bytes to sign, their true signature, the network's key) -> what stands in its place
Signing = Callable[[bytes, str, RSAPrivateKey], str]


def _pkcs1(algorithm: hashes.HashAlgorithm) -> Signing:
    return lambda message, _true, key: b64(key.sign(message, padding.PKCS1v15(), algorithm))


def _pss(message: bytes, _true: str, key: RSAPrivateKey) -> str:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    return b64(key.sign(message, pss, hashes.SHA256()))


def _hmac_by_public_key(message: bytes, _true: str, key: RSAPrivateKey) -> str:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return b64(hmac.digest(pem, message, "sha256"))


BAD_SIGNATURES: dict[str, Signing] = {
    "empty": lambda _message, _true, _key: "",
    "a blank": lambda _message, _true, _key: " ",
    "padding alone": lambda _message, _true, _key: "====",
    "no base64": lambda _message, _true, _key: "%%%",
    "the word none": lambda _message, _true, _key: "none",
    "all zeros": lambda _message, _true, _key: b64(bytes(256)),
    "all ones": lambda _message, _true, _key: b64(b"\xff" * 256),
    "the number one": lambda _message, _true, _key: b64(bytes(255) + b"\x01"),
    "a byte short": lambda _message, true, _key: b64(base64.b64decode(true)[:-1]),
    "a byte long": lambda _message, true, _key: b64(base64.b64decode(true) + b"\0"),
    "a zero before": lambda _message, true, _key: b64(b"\0" + base64.b64decode(true)),
    "first bit flipped": lambda _message, true, _key: b64(_flipped(base64.b64decode(true), 0)),
    "last bit flipped": lambda _message, true, _key: b64(_flipped(base64.b64decode(true), -1)),
    "a blank inside": lambda _message, true, _key: f"{true[:64]} {true[64:]}",
    "without padding": lambda _message, true, _key: true.rstrip("="),
    "in the alphabet for addresses": lambda _m, true, _k: true.replace("+", "-").replace("/", "_"),
    "in lower case": lambda _message, true, _key: true.lower(),
    "twice in a row": lambda _message, true, _key: true + true,
    "behind a word": lambda _message, true, _key: f"RSA2 {true}",
    "in quotes": lambda _message, true, _key: f'"{true}"',
    "in hexadecimal": lambda _message, true, _key: base64.b64decode(true).hex(),
    "over nothing": lambda _message, _true, key: _pkcs1(hashes.SHA256())(b"", "", key),
    "over one byte more": lambda message, _true, key: _pkcs1(hashes.SHA256())(message + b" ", "", key),
    "over the digest": lambda message, _true, key: _pkcs1(hashes.SHA256())(
        hashlib.sha256(message).digest(), "", key
    ),
    "RSA with SHA-1": _pkcs1(hashes.SHA1()),
    "RSA with MD5": _pkcs1(hashes.MD5()),
    "RSA with SHA-512": _pkcs1(hashes.SHA512()),
    "RSA with PSS": _pss,
    "HMAC by the public key": _hmac_by_public_key,
    "HMAC by an empty secret": lambda message, _true, _key: b64(hmac.digest(b"", message, "sha256")),
    "HMAC in hexadecimal": lambda message, _true, _key: hmac.digest(b"", message, "sha256").hex(),
    "MD5 by an empty secret": lambda message, _true, _key: hashlib.md5(message).hexdigest(),
    "SHA-256 by an empty secret": lambda message, _true, _key: hashlib.sha256(message).hexdigest(),
}

# name -> what a signed form becomes; each loses its signature's meaning, or has no one meaning at all
BAD_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda body: b"",
    "a zero byte": lambda body: b"\0",
    "an ampersand": lambda body: b"&",
    "an equals sign": lambda body: b"=",
    "encoded twice": lambda body: quote(body, safe="&=").encode(),
    "encoded as a whole": lambda body: quote(body, safe="").encode(),
    "semicolons for ampersands": lambda body: body.replace(b"&", b";"),
    "ampersands as in HTML": lambda body: body.replace(b"&", b"&amp;"),
    "an ampersand last": lambda body: body + b"&",
    "an ampersand first": lambda body: b"&" + body,
    "two ampersands": lambda body: body.replace(b"&", b"&&", 1),
    "a byte order mark first": lambda body: b"\xef\xbb\xbf" + body,
    "a blank first": lambda body: b" " + body,
    "a line end last": lambda body: body + b"\r\n",
    "a zero byte last": lambda body: body + b"%00",
    "an unsigned field": lambda body: body + b"&attach=1",
    "an unsigned field without a name": lambda body: body + b"&=1",
    "names in brackets": lambda body: body.replace(b"=", b"%5B%5D=", 1),
    "names in upper case": lambda body: _renamed(body, str.upper),
    "names with a dot": lambda body: _renamed(body, lambda name: f"{name}."),
    "names with a zero byte": lambda body: _renamed(body, lambda name: f"{name}\0"),
    "plus signs not escaped": lambda body: body.replace(b"%2B", b"+"),
    "plus signs as blanks": lambda body: body.replace(b"%2B", b"%20"),
    "blanks as plus signs in the text": lambda body: body.replace(b"+", b"%2B"),
    "percent signs broken": lambda body: body.replace(b"%", b"%%", 1),
    "bytes that are no UTF-8": lambda body: body + b"&attach=%ff%fe",
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "JSON": lambda body: json.dumps(dict(parse_qsl(body.decode()))).encode(),
    "XML": lambda body: (
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><return_code>SUCCESS</return_code>'
        b"<attach>&e;</attach></xml>"
    ),
    "multipart": lambda body: (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + body + b"\r\n--x--"
    ),
    "zipped": lambda body: gzip.compress(body, mtime=0),
    "two hundred fields more": lambda body: body + b"".join(b"&f%d=1" % n for n in range(200)),
    "a hundred thousand ampersands": lambda body: body + b"&" * 100_000,
    "as long as adapters read": lambda body: padded(body, READ_BYTES_MAX),
    "longer than adapters read": lambda body: padded(body, READ_BYTES_MAX + 1),
}

# name -> (header, value, body) for a body that claims to be packed: nobody unpacks it
PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "packed with gzip": ("gzip", lambda body: gzip.compress(body, mtime=0)),
    "packed with deflate": ("deflate", zlib.compress),
    "a gzip bomb": ("gzip", lambda _body: _bomb()),
}


def bad_form(sent: Inbound, name: str) -> Inbound:
    """The form twisted in one of the ways above."""
    if name in PACKED:
        word, pack = PACKED[name]
        return with_body(sent, pack(sent.body), content_encoding=word)
    return with_body(sent, BAD_FORMS[name](sent.body))


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(20_000_000), compresslevel=1, mtime=0)


def _flipped(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def _renamed(body: bytes, rename: Callable[[str], str]) -> bytes:
    return urlencode([(rename(name), value) for name, value in parse_qsl(body.decode())]).encode()
