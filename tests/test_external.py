"""Signing in with an outside provider: against a real OpenID provider (oidc-provider, on Node), and against a
small local one whose answers a test can bend."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp
import jwt
import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.external import External, ExternalError, Identity, Provider, Started
from tests import node_tools

CALLBACK = "https://community.test/callback"
SECRET = "a secret: with/odd+characters&"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY, OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


# against oidc-provider


@pytest.fixture(scope="module")
def issuers() -> Iterator[dict[str, str]]:
    with node_tools.started("oidc.mjs") as line:
        yield json.loads(line)


@pytest.fixture
async def real(issuers: dict[str, str]) -> AsyncIterator[External]:
    secrets = {"public": ""}
    providers = [
        Provider(name, "onesocket", secrets.get(name, SECRET), issuer=issuer) for name, issuer in issuers.items()
    ]
    providers.append(Provider("mistaken", "onesocket", "not the secret", issuer=issuers["basic"]))
    external = External(providers, allow_http=True)
    yield external
    await external.close()


async def walk(url: str, login: str = "anna") -> dict[str, str]:
    """Do what a person does in a browser: sign in, consent, and come back with the query of the callback."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        form: dict[str, str] | None = None
        for _ in range(12):
            method = "GET" if form is None else "POST"
            async with browser.request(method, url, data=form, allow_redirects=False) as page:
                text, target = await page.text(), page.headers.get("Location")
            if target is not None:
                if target.startswith(CALLBACK):
                    return dict(parse_qsl(urlsplit(target).query))
                url, form = urljoin(url, target), None
                continue
            action, prompt = (
                re.search(r'action="([^"]+)"', text),
                re.search(r'name="prompt" value="(\w+)"', text),
            )
            assert action and prompt, text
            url, form = urljoin(url, action[1]), {"prompt": prompt[1], "login": login, "password": "any"}
    raise AssertionError("the provider never sent the person back")


@pytest.mark.parametrize("flavour", ["basic", "post", "public", "pss"])
async def test_a_person_signs_in_with_a_real_provider(real: External, issuers: dict[str, str], flavour: str) -> None:
    started = await real.begin(flavour, CALLBACK)
    back = await walk(started.url)
    assert back["state"] == started.state
    identity = await real.finish(flavour, started, back["code"], iss=back["iss"])
    assert identity == Identity(issuers[flavour], "anna", "anna@example.org", True, "Person anna")


async def test_an_unverified_address_is_not_called_verified(real: External) -> None:
    started = await real.begin("basic", CALLBACK)
    back = await walk(started.url, "unverified")
    identity = await real.finish("basic", started, back["code"], iss=back["iss"])
    assert (identity.email, identity.email_verified) == ("unverified@example.org", False)


async def test_a_code_works_once(real: External) -> None:
    started = await real.begin("basic", CALLBACK)
    back = await walk(started.url)
    await real.finish("basic", started, back["code"], iss=back["iss"])
    with pytest.raises(ExternalError, match=r"^provider refused: invalid_grant$"):
        await real.finish("basic", started, back["code"], iss=back["iss"])


@pytest.mark.parametrize(
    ("field", "outcome"),
    [
        ("verifier", "provider refused: invalid_grant"),
        ("redirect", "provider refused: invalid_grant"),
        ("nonce", "bad token: made for another flow"),
    ],
)
async def test_a_code_is_worthless_in_another_flow(real: External, field: str, outcome: str) -> None:
    started = await real.begin("basic", CALLBACK)
    back = await walk(started.url)
    other = await real.begin("basic", f"{CALLBACK}/other")
    bent = msgspec.structs.replace(started, **{field: getattr(other, field)})
    with pytest.raises(ExternalError, match=f"^{outcome}$"):
        await real.finish("basic", bent, back["code"], iss=back["iss"])


@pytest.mark.parametrize("iss", [None, "https://elsewhere.test"])
async def test_an_answer_from_another_issuer_never_reaches_the_token_endpoint(real: External, iss: str | None) -> None:
    started = await real.begin("basic", CALLBACK)
    back = await walk(started.url)
    with pytest.raises(ExternalError, match="another issuer"):
        await real.finish("basic", started, back["code"], iss=iss)
    await real.finish("basic", started, back["code"], iss=back["iss"])  # the code was not spent


async def test_a_wrong_client_secret_is_refused_by_the_provider(real: External) -> None:
    started = await real.begin("mistaken", CALLBACK)
    back = await walk(started.url)
    with pytest.raises(ExternalError, match=r"^provider refused: invalid_client$"):
        await real.finish("mistaken", started, back["code"], iss=back["iss"])


async def test_a_flow_belongs_to_the_provider_it_began_with(real: External) -> None:
    started = await real.begin("basic", CALLBACK)
    with pytest.raises(ExternalError, match="does not belong to this flow"):
        await real.finish("post", started, "code")


# against a provider whose answers a test bends


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    )
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


class Forge:
    """An OpenID and OAuth provider that hands out what it is told to, and remembers who asked for what."""

    def __init__(self) -> None:
        self.origin = ""
        self.asked: list[str] = []
        self.keys = [jwk(EC_KEY, "ec"), jwk(RSA_KEY, "rsa", alg="RS256", use="sig")]
        self.discovery: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}  # path: what to answer instead
        self.claims: dict[str, Any] = {}
        self.nonce = ""
        self.challenge = ""
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.runner: web.AppRunner

    async def __aenter__(self) -> "Forge":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        endpoints = {
            "authorization_endpoint": "/authorize?tenant=1",
            "token_endpoint": "/token",
            "jwks_uri": "/keys",
        }
        self.discovery = {
            "issuer": self.origin,
            **{key: self.origin + path for key, path in endpoints.items()},
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        told = self.answers.get(request.path)
        if callable(told):
            told = await told(request)
        if isinstance(told, web.StreamResponse):
            return told
        usual = {"/.well-known/openid-configuration": self.discovery, "/keys": {"keys": self.keys}}
        if told is None and request.path == "/token":
            told = self.tokens(await request.post())
        return web.json_response(usual.get(request.path) if told is None else told)

    def tokens(self, form: Any) -> dict[str, Any]:
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if proof.decode() != self.challenge:
            return {"error": "bad_verification_code"}  # with status 200, as GitHub does
        return {
            "access_token": "an access token",
            "token_type": "bearer",
            "id_token": self.sign(self.usual_claims()),
        }

    def usual_claims(self) -> dict[str, Any]:
        now = int(time.time())
        usual = {
            "iss": self.origin,
            "aud": "client",
            "sub": "42",
            "iat": now,
            "exp": now + 60,
            "nonce": self.nonce,
        }
        merged = {**usual, "email": "a@example.org", **self.claims}
        return {key: value for key, value in merged.items() if value is not None}

    async def sign_in(self, external: External, provider: str = "forge") -> Identity:
        """One whole flow, in which the person agrees at once."""
        started = await external.begin(provider, CALLBACK)
        query = dict(parse_qsl(urlsplit(started.url).query))
        assert query["code_challenge_method"] == "S256"
        self.nonce, self.challenge = query["nonce"], query["code_challenge"]
        return await external.finish(provider, started, "the code")


def signed(claims: dict[str, Any], key: Any = EC_KEY, algorithm: str = "ES256", kid: str | None = "ec") -> str:
    return jwt.encode(claims, key, algorithm, headers={} if kid is None else {"kid": kid})


def hmac_with_the_public_key(claims: dict[str, Any]) -> str:
    """The classic: a public key used as if it were a shared secret."""
    pem = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "ec"}, claims]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    mac = hmac.digest(pem, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def other_payload(claims: dict[str, Any]) -> str:
    header, _, signature = signed(claims).split(".")
    return ".".join([header, signed({**claims, "sub": "1"}).split(".")[1], signature])


@pytest.fixture
async def forge() -> AsyncIterator[Forge]:
    async with Forge() as forge:
        yield forge


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def external(forge: Forge, clock: Clock) -> AsyncIterator[External]:
    urls: Any = {f"{what}_url": f"{forge.origin}/{what}" for what in ("authorize", "token", "user", "emails")}
    providers = [
        Provider("forge", "client", "secret", issuer=forge.origin),
        Provider("github", "client", "secret", **urls),
    ]
    external = External(providers, allow_http=True, timeout=5, clock=clock)
    yield external
    await external.close()


FAR = 10**6
GOOD_TOKENS: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], str]]] = {
    "as it should be": ({}, signed),
    "signed with RSA": ({}, lambda claims: signed(claims, RSA_KEY, "RS256", "rsa")),
    "no kid, one key of that kind": ({}, lambda claims: signed(claims, kid=None)),
    "one of several audiences, and meant for us": ({"aud": ["client", "other"], "azp": "client"}, signed),
    "expired within the leeway": ({}, lambda claims: signed({**claims, "exp": int(time.time()) - 20})),
}
BAD_TOKENS: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], str]]] = {
    "another key's signature": ({}, lambda claims: signed(claims, OTHER_EC_KEY)),
    "another payload": ({}, other_payload),
    "no signature": ({}, lambda claims: signed(claims).rsplit(".", 1)[0] + "."),
    "alg none": ({}, lambda claims: jwt.encode(claims, "", "none", headers={"kid": "ec"})),
    "alg HS256 with the public key": ({}, hmac_with_the_public_key),
    "alg of another key": ({}, lambda claims: signed(claims, RSA_KEY, "RS256", "ec")),
    "alg that the key is not for": ({}, lambda claims: signed(claims, RSA_KEY, "PS256", "rsa")),
    "alg not on our list": ({}, lambda claims: signed(claims, RSA_KEY, "RS512", "rsa")),
    "not a token": ({}, lambda _: "nonsense"),
    "nothing": ({}, lambda _: ""),
    "another issuer": ({"iss": "https://elsewhere.test"}, signed),
    "another audience": ({"aud": "other"}, signed),
    "several audiences, meant for nobody": ({"aud": ["client", "other"]}, signed),
    "meant for another client": ({"azp": "other"}, signed),
    "expired": ({}, lambda claims: signed({**claims, "exp": int(time.time()) - 40})),
    "no expiry": ({"exp": None}, signed),
    "absurd expiry": ({"exp": float("inf")}, signed),
    "issued in the future": ({"iat": int(time.time()) + FAR, "exp": int(time.time()) + 2 * FAR}, signed),
    "another nonce": ({"nonce": "another"}, signed),
    "no nonce": ({"nonce": None}, signed),
    "no subject": ({"sub": None}, signed),
    "empty subject": ({"sub": ""}, signed),
    "subject that cannot be stored": ({"sub": "4\x002"}, signed),
    "subject longer than the standard allows": ({"sub": "4" * 256}, signed),
}


@pytest.mark.parametrize("kind", GOOD_TOKENS)
async def test_a_good_token_is_accepted(forge: Forge, external: External, kind: str) -> None:
    forge.claims, forge.sign = GOOD_TOKENS[kind]
    assert (await forge.sign_in(external)).subject == "42"


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused(forge: Forge, external: External, kind: str) -> None:
    await forge.sign_in(external)  # the flow itself is good
    forge.claims, forge.sign = BAD_TOKENS[kind]
    with pytest.raises(ExternalError) as refused:
        await forge.sign_in(external)
    assert refused.value.reason == "bad token"


async def test_a_key_published_for_encryption_signs_nothing(forge: Forge, external: External) -> None:
    forge.keys = [jwk(EC_KEY, "ec", use="enc")]
    with pytest.raises(ExternalError, match="no such key"):
        await forge.sign_in(external)


async def test_a_new_key_is_fetched_at_most_once_a_minute(forge: Forge, external: External, clock: Clock) -> None:
    await forge.sign_in(external)
    forge.keys, forge.sign = (
        [jwk(OTHER_EC_KEY, "new")],
        lambda claims: signed(claims, OTHER_EC_KEY, kid="new"),
    )
    await forge.sign_in(external)
    assert forge.asked.count("/keys") == 2

    forge.keys, forge.sign = [jwk(EC_KEY, "newest")], lambda claims: signed(claims, kid="newest")
    clock.now += 59
    with pytest.raises(ExternalError, match="no such key"):
        await forge.sign_in(external)
    assert forge.asked.count("/keys") == 2
    clock.now += 1
    await forge.sign_in(external)
    assert forge.asked.count("/keys") == 3


async def test_documents_are_fetched_once_an_hour(forge: Forge, external: External, clock: Clock) -> None:
    documents = {"/.well-known/openid-configuration", "/keys"}
    await asyncio.gather(*(external.begin("forge", CALLBACK) for _ in range(5)))
    await forge.sign_in(external)
    clock.now += 3599
    await forge.sign_in(external)
    assert sorted(path for path in forge.asked if path in documents) == sorted(documents)
    clock.now += 1
    await forge.sign_in(external)
    assert sorted(path for path in forge.asked if path in documents) == sorted([*documents, *documents])


async def test_userinfo_must_be_about_the_person_of_the_token(forge: Forge, external: External) -> None:
    forge.discovery["userinfo_endpoint"] = f"{forge.origin}/userinfo"
    forge.claims = {"email": None}
    forge.answers["/userinfo"] = {"sub": "42", "email": "anna@example.org", "email_verified": "true"}
    identity = await forge.sign_in(external)
    assert (identity.email, identity.email_verified) == ("anna@example.org", True)
    forge.answers["/userinfo"]["sub"] = "43"
    with pytest.raises(ExternalError, match=r"^bad token: userinfo"):
        await forge.sign_in(external)


async def test_what_cannot_be_stored_or_shown_is_left_out(forge: Forge, external: External) -> None:
    forge.claims = {"email": "a\x00@b", "email_verified": True, "name": "  An\x00na\u202e\n" + "x" * 200}
    identity = await forge.sign_in(external)
    assert (identity.email, identity.email_verified) == (None, False)
    assert identity.name == "Anna" + "x" * 94


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("issuer", "https://elsewhere.test", "another issuer"),
        ("token_endpoint", "http://192.0.2.1/token", "unsafe endpoint"),
        ("userinfo_endpoint", "file:///etc/passwd", "unsafe endpoint"),
        ("authorization_endpoint", "javascript:alert(1)", "unsafe endpoint"),
        ("jwks_uri", "http://[broken/keys", "unsafe endpoint"),
    ],
)
async def test_a_discovery_document_cannot_lead_elsewhere(
    forge: Forge, external: External, field: str, value: str, detail: str
) -> None:
    forge.discovery[field] = value
    with pytest.raises(ExternalError, match=f"^provider unavailable: .*{detail}$"):
        await external.begin("forge", CALLBACK)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (lambda: web.Response(body=b'{"keys":[' + b" " * 300_000 + b"]}"), "answer too large"),
        (
            lambda: web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
            "not understood",
        ),
        (lambda: web.Response(body=b"<html>"), "not understood"),
        (lambda: web.Response(body=b'"\xff"'), "not understood"),
        (lambda: web.Response(body=b'{"keys":' + b"[" * 20_000), "not understood"),
        (lambda: web.Response(body=b'{"keys":5,"access_token":5}'), "not understood"),
        (lambda: web.Response(status=503), "status 503"),
        (lambda: web.Response(status=307, headers={"Location": "/elsewhere"}), "status 307"),
    ],
    ids=["huge", "compressed", "html", "not utf-8", "deep", "other shape", "busy", "redirect"],
)
async def test_an_odd_answer_makes_the_provider_unavailable(
    forge: Forge, external: External, path: str, answer: Callable[[], web.Response], detail: str
) -> None:
    forge.answers[path] = answer()
    with pytest.raises(ExternalError, match=f"^provider unavailable: .*{detail}$"):
        await forge.sign_in(external)
    assert "/elsewhere" not in forge.asked


async def test_a_provider_that_hangs_is_given_up(forge: Forge) -> None:
    release = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    external = External([Provider("forge", "client", issuer=forge.origin)], allow_http=True, timeout=0.2)
    forge.answers["/token"] = hang
    try:
        async with asyncio.timeout(5):
            with pytest.raises(ExternalError, match=r"^provider unavailable: no answer in time$"):
                await forge.sign_in(external)
    finally:
        release.set()
        await external.close()


async def test_a_provider_that_is_gone_is_unavailable_and_may_come_back(forge: Forge, external: External) -> None:
    forge.answers["/.well-known/openid-configuration"] = web.Response(status=500)
    with pytest.raises(ExternalError, match=r"^provider unavailable: status 500$"):
        await external.begin("forge", CALLBACK)
    forge.answers.clear()
    assert (await forge.sign_in(external)).subject == "42"
    await forge.runner.cleanup()
    with pytest.raises(ExternalError) as refused:
        await forge.sign_in(external)
    assert refused.value.reason == "provider unavailable"


@pytest.mark.parametrize("code", ["", "x" * 5000])
async def test_an_impossible_code_is_refused_without_asking(forge: Forge, external: External, code: str) -> None:
    started = await external.begin("forge", CALLBACK)
    asked = list(forge.asked)
    with pytest.raises(ExternalError, match=r"^provider refused"):
        await external.finish("forge", started, code)
    assert forge.asked == asked


# plain OAuth 2, in GitHub's shape


@pytest.fixture
def github(forge: Forge) -> Forge:
    forge.answers["/user"] = {"id": 583231, "login": "octocat", "name": None, "email": "public@example.org"}
    forge.answers["/emails"] = [
        {"email": "old@example.org", "primary": False, "verified": True},
        {"email": "main@example.org", "primary": True, "verified": True},
    ]
    return forge


async def test_a_person_signs_in_with_plain_oauth(github: Forge, external: External) -> None:
    identity = await github.sign_in(external, "github")
    assert identity == Identity(f"{github.origin}/user", "583231", "main@example.org", True, "octocat")


async def test_plain_oauth_trusts_only_a_primary_verified_address(github: Forge, external: External) -> None:
    github.answers["/emails"][1]["verified"] = False
    identity = await github.sign_in(external, "github")
    assert (identity.email, identity.email_verified) == ("public@example.org", False)


async def test_the_bearer_token_goes_to_the_user_endpoint(github: Forge, external: External) -> None:
    seen: list[str] = []

    async def user(request: web.Request) -> dict[str, Any]:
        seen.append(request.headers["Authorization"])
        return {"id": 1}

    github.answers["/user"] = user
    assert (await github.sign_in(external, "github")).subject == "1"
    assert seen == ["Bearer an access token"]


async def test_a_refusal_with_status_200_is_a_refusal(github: Forge, external: External) -> None:
    started = await external.begin("github", CALLBACK)
    with pytest.raises(ExternalError, match=r"^provider refused: bad_verification_code$"):
        await external.finish("github", started, "a code for another challenge")


async def test_a_refusal_is_never_repeated_in_the_providers_words(github: Forge, external: External) -> None:
    github.answers["/token"] = {"error": "look: secret\nforged log line"}
    with pytest.raises(ExternalError, match=r"^provider refused: status 200$"):
        await github.sign_in(external, "github")


# configuration


@pytest.mark.parametrize(
    "provider",
    [
        Provider("a", "client", issuer="http://accounts.example.org"),
        Provider("a", "client", issuer="https://user:password@accounts.example.org"),
        Provider("a", "client", issuer="accounts.example.org"),
        Provider("a", "client"),
        Provider("a", "client", authorize_url="https://a.test/a", token_url="https://a.test/t"),
        Provider(
            "a",
            "client",
            authorize_url="https://a.test",
            token_url="http://a.test",
            user_url="https://a.test",
        ),
    ],
)
def test_an_unsafe_or_incomplete_provider_is_refused_at_the_start(provider: Provider) -> None:
    with pytest.raises(ValueError, match="provider 'a'"):
        External([provider], allow_http=True)


def test_http_is_for_loopback_and_only_when_allowed() -> None:
    for host in ("127.0.0.1:80", "[::1]:80", "localhost"):
        provider = Provider("a", "client", issuer=f"http://{host}")
        External([provider], allow_http=True)
        with pytest.raises(ValueError, match="https"):
            External([provider])


def test_a_name_is_configured_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        External([Provider("google", "a"), Provider("google", "b")])


@pytest.mark.parametrize("name", ["", "Big", "a b", "a\n", "x" * 33, "../a"])
def test_a_provider_is_named_by_a_slug(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name, "client_id": "client"}, Provider)


async def test_known_providers_need_only_a_client() -> None:
    external = External(
        [
            Provider("google", "g", "s"),
            Provider("github", "h", "s"),
            Provider("own", "o", issuer="https://o.test"),
        ]
    )
    assert external.names() == [("google", "Google"), ("github", "GitHub"), ("own", "own")]
    url = (await external.begin("github", CALLBACK)).url
    assert url.startswith("https://github.com/login/oauth/authorize?")
    assert dict(parse_qsl(urlsplit(url).query))["scope"] == "read:user user:email"


async def test_an_openid_provider_is_always_asked_for_an_id_token(forge: Forge) -> None:
    external = External([Provider("forge", "client", issuer=forge.origin, scopes=("email",))], allow_http=True)
    url = (await external.begin("forge", CALLBACK)).url
    await external.close()
    assert dict(parse_qsl(urlsplit(url).query))["scope"] == "openid email"


async def test_an_unknown_provider_is_said_to_be_unknown() -> None:
    with pytest.raises(ExternalError, match=r"^unknown provider$"):
        await External([]).begin("nobody", CALLBACK)


async def test_flows_do_not_share_secrets_and_do_not_show_them(external: External) -> None:
    one, two = [await external.begin("forge", CALLBACK) for _ in range(2)]
    assert len({one.state, one.verifier, one.nonce, two.state, two.verifier, two.nonce}) == 6
    assert len(one.verifier) >= 43
    assert one.verifier not in one.url
    assert one.verifier not in repr(one)
    assert "secret" not in repr(Provider("a", "client", "secret"))
    assert msgspec.json.decode(msgspec.json.encode(one), type=Started) == one


def test_nothing_is_loaded_before_somebody_signs_in() -> None:
    """An idle server should not pay for an HTTP client."""
    code = (
        "import sys; from server.external import External, Provider; External([Provider('google', 'a')]);"
        "sys.exit('aiohttp' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
