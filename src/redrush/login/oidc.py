"""An OpenID Connect provider, asked who somebody is: the authorization code flow with state, nonce and PKCE.

The protocol is Authlib's: addresses, the exchange of the code, and the checks of an ID token. What is ours is which of
its checks are obligatory, and sentences for what fails. Nothing here knows a web framework: `redrush login` uses it for
participants, and whoever else lets people log in can, too.

    begun = await provider.begin(back)              # send the browser to begun.url, keep begun.started for it
    user = await provider.finish(back, started, query)   # of the request that came to `back`
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import Any, Final

import httpx2
import msgspec
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from redrush.config.login_file import OidcTerms
from redrush.core.web_address import parts_of
from redrush.errors import RedrushError
from redrush.login.joined import Joined
from redrush.watch.log import server_log

DISCOVERY: Final = "/.well-known/openid-configuration"
DEADLINE_S: Final = 8.0
"""Of one call to the provider, all of it: an answer that drips is given up."""
METADATA_S: Final = 3_600.0
"""How long what a provider says of itself is gone by."""
METADATA_AGAIN_S: Final = 60.0
"""So much longer the same is gone by, where it says nothing then, or nothing of use."""
KEYS_AGAIN_S: Final = 10.0
"""So often its keys are asked for again at most, when a token names one that is not known."""
LEEWAY_S: Final = 60
"""By which its clock and ours may differ."""
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""With which an ID token may be signed: those that need the provider's own key."""
SIGNED_WITH: Final = "id_token_signing_alg_values_supported"
SECRET_CHARACTERS: Final = 48
CLAIM_CHARACTERS_MAX: Final = 512
NO_ANSWER: Final = (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError)
"""What is raised where no answer comes, and for an address that is none, or an answer that is none or too deep."""


class NotLoggedIn(Exception):
    """The provider did not say who somebody is, or not in a way that can be trusted. `reason` is for logs and tests."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class ProviderAway(RedrushError):
    """The provider answers nobody, or nonsense: whoever comes again later may have luck."""


class Started(msgspec.Struct, frozen=True):
    """What has to be kept for a browser between its going and its coming back, and shown to nobody else."""

    state: str
    nonce: str
    verifier: str


class Begun(msgspec.Struct, frozen=True):
    """Where to send a browser, and what to keep for it."""

    url: str
    started: Started


class Provider:
    """One provider, by its terms. May be used by any number of logins at a time, on one event loop."""

    def __init__(self, terms: OidcTerms) -> None:
        self._terms = terms
        self._secret = None if terms.client_secret is None else terms.client_secret.read()
        self._trusted = ssl.create_default_context()  # once: reading all authorities takes a tenth of a second
        self._metadata: dict[str, Any] | None = None
        self._metadata_until = 0.0
        self._asking_metadata = Joined(self._ask_metadata)
        self._asking_keys = Joined(self._ask_keys)
        self._keys: KeySet | None = None
        self._keys_since = -KEYS_AGAIN_S

    async def begin(self, back: str) -> Begun:
        """Return where to send a browser that shall come back to the address `back`. ProviderAway."""
        metadata = await self.metadata()
        started = Started(*(generate_token(SECRET_CHARACTERS) for _ in range(3)))
        async with self._client(back) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=started.state,
                nonce=started.nonce,
                code_verifier=started.verifier,
            )
        return Begun(url, started)

    async def finish(self, back: str, started: Started, query: Mapping[str, str]) -> str:
        """Return who has come back with this query, by the claim that the terms name. NotLoggedIn, ProviderAway."""
        if not compare_digest(query.get("state", "").encode(), started.state.encode()):
            raise NotLoggedIn("state", "this is not the login that was begun in this browser")
        metadata = await self.metadata()
        told = query.get("iss")
        if told is None and metadata.get("authorization_response_iss_parameter_supported"):
            raise NotLoggedIn("iss", "the answer does not say which provider it is of")
        if told not in {None, metadata["issuer"]}:
            raise NotLoggedIn("iss", "the answer is of another provider")
        if "error" in query:
            raise NotLoggedIn("refused", f"the provider refused: {query.get('error_description') or query['error']}")
        if not (code := query.get("code")):
            raise NotLoggedIn("code", "the provider sent no code")
        async with self._client(back) as client:
            token = await self._exchange(client, metadata["token_endpoint"], code, started)
            claims = await self._checked(token, started.nonce)
            if self._terms.user not in claims and (more := metadata.get("userinfo_endpoint")):
                claims = {**await self._userinfo(client, more, claims["sub"]), **claims}
        return self._user(claims)

    async def metadata(self) -> Mapping[str, Any]:
        """Return what the provider says of itself (OpenID Connect Discovery). ProviderAway if it never has."""
        if self._metadata is None or time.monotonic() >= self._metadata_until:
            return await self._asking_metadata()
        return self._metadata

    async def _ask_metadata(self) -> Mapping[str, Any]:
        try:
            found = await self._fetched(self._terms.issuer.rstrip("/") + DISCOVERY)
            self._check_metadata(found)
            self._metadata, self._metadata_until = found, time.monotonic() + METADATA_S
        except ProviderAway as fault:
            if self._metadata is None:
                raise
            server_log().warning("the provider of logins is away: what it said before still counts", fault=str(fault))
            self._metadata_until = time.monotonic() + METADATA_AGAIN_S
        return self._metadata

    def _check_metadata(self, found: Mapping[str, Any]) -> None:
        if found.get("issuer") != self._terms.issuer:
            raise ProviderAway(
                f'login.oidc.issuer is "{self._terms.issuer}", and what answers there calls itself '
                f'"{found.get("issuer")}": write the issuer exactly as the provider does'
            )
        for needed in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(said := found.get(needed), str) or parts_of(said) is None:
                raise ProviderAway(f"the provider {self._terms.issuer} says no {needed}: it is of no use here")
        if (said := found.get("userinfo_endpoint")) and (not isinstance(said, str) or parts_of(said) is None):
            raise ProviderAway(f"the provider {self._terms.issuer} says a userinfo_endpoint that is no address")
        named = found.get(SIGNED_WITH) or []
        if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
            raise ProviderAway(f"the provider {self._terms.issuer} says {SIGNED_WITH} that is no list of texts")

    def _client(self, back: str) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._terms.client_id,
            self._secret,
            scope=" ".join(self._terms.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=DEADLINE_S,
            verify=self._trusted,
        )

    async def _exchange(self, client: AsyncOAuth2Client, endpoint: str, code: str, started: Started) -> dict[str, Any]:
        try:
            async with _deadline(endpoint):
                token: dict[str, Any] = await client.fetch_token(endpoint, code=code, code_verifier=started.verifier)
        except OAuthError as fault:
            raise NotLoggedIn("code", f"the provider took the code back: {fault.description or fault.error}") from fault
        except NO_ANSWER as fault:
            raise ProviderAway(f"the provider {self._terms.issuer} exchanged no code: {_why(fault)}") from fault
        if "id_token" not in token:
            raise NotLoggedIn("id_token", "the provider sent no ID token")
        return token

    async def _checked(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token, all of whose obligatory ones are right. NotLoggedIn, ProviderAway."""
        options = {
            "iss": {"essential": True, "value": self._terms.issuer},
            "aud": {"essential": True, "value": self._terms.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        params = {"nonce": nonce, "client_id": self._terms.client_id, "access_token": token.get("access_token")}
        try:
            decoded = await self._decoded(token["id_token"])
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, RecursionError) as fault:
            raise NotLoggedIn("id_token", f"the ID token is not good: {_why(fault)}") from fault
        return dict(claims)

    async def _decoded(self, id_token: str) -> jwt.Token:
        metadata = await self.metadata()
        named = metadata.get(SIGNED_WITH) or ["RS256"]
        registry = JWSRegistry(algorithms=sorted(ALGORITHMS.intersection(named)), strict_check_header=False)
        try:
            return jwt.decode(id_token, await self._key_set(), registry=registry)
        except InvalidKeyIdError:
            return jwt.decode(id_token, await self._key_set(anew=True), registry=registry)

    async def _key_set(self, *, anew: bool = False) -> KeySet:
        """Return the provider's keys. `anew`: a token names one that is not among them."""
        is_due = self._asking_keys.is_under_way or time.monotonic() - self._keys_since >= KEYS_AGAIN_S
        if self._keys is None or (anew and is_due):
            return await self._asking_keys()
        return self._keys

    async def _ask_keys(self) -> KeySet:
        self._keys_since = time.monotonic()
        url = (await self.metadata())["jwks_uri"]
        found: Any = await self._fetched(url)
        try:
            self._keys = KeySet.import_key_set(found)
        except (JoseError, LookupError, TypeError, ValueError) as fault:
            raise ProviderAway(f"{url} is not answered as a provider does: that is no set of keys") from fault
        return self._keys

    async def _userinfo(self, client: AsyncOAuth2Client, endpoint: str, subject: str) -> dict[str, Any]:
        """Return what the provider says besides of the subject. NotLoggedIn, ProviderAway."""
        try:
            async with _deadline(endpoint):
                answer = await client.get(endpoint)
            answer.raise_for_status()
            told: dict[str, Any] = answer.json()
        except (*NO_ANSWER, OAuthError) as fault:
            raise ProviderAway(f"the provider {self._terms.issuer} told nothing of a user: {_why(fault)}") from fault
        if not isinstance(told, dict) or told.get("sub") != subject:
            raise NotLoggedIn("userinfo", "the provider told of another user")
        return told

    def _user(self, claims: Mapping[str, Any]) -> str:
        name = self._terms.user
        user = claims.get(name)
        if not isinstance(user, str) or not 1 <= len(user) <= CLAIM_CHARACTERS_MAX:
            raise NotLoggedIn("user", f'the provider does not say "{name}" of you, by which people are known here')
        if name == "email" and claims.get("email_verified") is not True:
            raise NotLoggedIn("user", "the provider has not verified your e-mail address")
        return user

    async def _fetched(self, url: str) -> dict[str, Any]:
        """Return a JSON object that the provider publishes. ProviderAway."""
        try:
            async with _deadline(url), httpx2.AsyncClient(timeout=DEADLINE_S, verify=self._trusted) as client:
                answer = await client.get(url)
            answer.raise_for_status()
            found = answer.json()
        except NO_ANSWER as fault:
            raise ProviderAway(f"{url} is not answered as a provider does: {_why(fault)}") from fault
        if not isinstance(found, dict):
            raise ProviderAway(f"{url} is not answered as a provider does: that is no JSON object")
        return found


@asynccontextmanager
async def _deadline(url: str) -> AsyncIterator[None]:
    """Give up after DEADLINE_S, by ProviderAway. The limits of the library are for each piece of an answer."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield
    except TimeoutError:
        raise ProviderAway(f"{url}: no answer within {DEADLINE_S:g} s") from None


def _why(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
