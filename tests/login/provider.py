"""A real OpenID Connect provider on loopback: Authlib's authorization server, which shares no code with our checks.

Its people are whoever is named at its login form (or by `?as=` in a test without a browser). It demands PKCE, and takes
a code once. `spoiled` changes the claims that it signs, for tests of providers that are wrong or hostile.
"""

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT: Final = "hongbao"
SECRET: Final = "a secret of the provider"
FORM: Final = (
    '<!doctype html><title>Company login</title><form method="post"><input name="as"><button>Log in</button></form>'
)


class Person:
    """Somebody whom the provider knows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_user_id(self) -> str:
        return self.name


class Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """Ours, as the provider has it."""

    def __init__(self, back: str) -> None:
        self.client_id, self.back = CLIENT, back

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.back

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.back

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    """A code that was given, and for what."""

    def __init__(self, user: str, **asked: str) -> None:
        self.user, self.asked = user, asked
        self.code_challenge = asked["code_challenge"]
        self.code_challenge_method = asked["code_challenge_method"]

    def get_redirect_uri(self) -> str:
        return self.asked["redirect_uri"]

    def get_scope(self) -> str:
        return self.asked["scope"]

    def get_nonce(self) -> str:
        return self.asked["nonce"]

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Token(TokenMixin):  # type: ignore[misc]
    """An access token, for the provider's own page about a user."""

    def __init__(self, user: str, scope: str) -> None:
        self.user, self.scope = user, scope

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False


def as_it_is(_claims: dict[str, Any]) -> None:
    """Leave the claims as they are."""


def unsigned(claims: dict[str, Any]) -> str:
    """Return an ID token that anybody could have made."""
    parts = ({"alg": "none"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


class Provider:
    """Runs from its making to `stop`. `back` is where its one client may be sent back to."""

    def __init__(self, back: str) -> None:
        self.client = Client(back)
        self.codes: dict[str, Code] = {}
        self.tokens: dict[str, Token] = {}
        self.keys = KeySet([RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})])
        self.in_id_token: tuple[str, ...] = ("email", "email_verified")
        """Which claims about a user stand in the ID token; all of them are on the page about a user."""
        self.email_verified = True
        self.spoiled: Callable[[dict[str, Any]], None] = as_it_is
        self.unsigned = False
        self._server = make_server("127.0.0.1", 0, self._app(), threaded=True)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; whoever asks then is refused the connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def turn_keys(self) -> None:
        """Sign with another key from now on; the one before is not published any more."""
        self.keys = KeySet([RSAKey.generate_key(2048, {"kid": f"key-{time.monotonic_ns()}", "use": "sig"})])

    def about(self, user: str) -> dict[str, Any]:
        """Return all that is known of a user."""
        return {
            "sub": user,
            "email": f"{user}@example.com",
            "email_verified": self.email_verified,
            "staff_id": f"S-{user}",
        }

    def _id_token(self) -> OpenIDCode:
        own = self

        class IdToken(OpenIDCode):  # type: ignore[misc]
            def exists_nonce(self, nonce: str, _request: Any) -> bool:
                return any(code.get_nonce() == nonce for code in own.codes.values())

            def resolve_client_private_key(self, client: Client) -> KeySet:
                return own.keys

            def get_client_algorithm(self, client: Client) -> str:
                return "RS256"

            def get_client_claims(self, client: Client) -> dict[str, str]:
                return {"iss": own.issuer}

            def generate_user_info(self, user: Person, scope: str) -> UserInfo:
                known = own.about(user.name)
                return UserInfo({name: known[name] for name in ("sub", *own.in_id_token)})

            def encode_id_token(self, token: dict[str, Any], asked: Any) -> str:
                signed = super().encode_id_token(token, asked)
                key = own.keys.keys[0]
                claims = jwt.decode(signed, key, algorithms=["RS256"]).claims
                own.spoiled(claims)
                return unsigned(claims) if own.unsigned else jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)

        return IdToken(require_nonce=True)

    def _grant(self) -> type:
        own = self

        class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012 - as Authlib has it

            def save_authorization_code(self, code: str, asked: Any) -> None:
                data = asked.payload.data
                names = ("redirect_uri", "scope", "nonce", "code_challenge", "code_challenge_method")
                own.codes[code] = Code(asked.user.name, **{name: data[name] for name in names})

            def query_authorization_code(self, code: str, client: Client) -> Code | None:
                return own.codes.get(code)

            def delete_authorization_code(self, code: Code) -> None:
                own.codes = {text: one for text, one in own.codes.items() if one is not code}

            def authenticate_user(self, code: Code) -> Person:
                return Person(code.user)

        return Grant

    def _app(self) -> Flask:
        app, own = Flask("provider"), self

        def save_token(token: dict[str, Any], asked: Any) -> None:
            own.tokens[token["access_token"]] = Token(asked.user.name, token["scope"])

        server = AuthorizationServer(
            app, query_client=lambda name: own.client if name == CLIENT else None, save_token=save_token
        )
        server.register_grant(self._grant(), [self._id_token(), CodeChallenge(required=True)])

        class Bearer(BearerTokenValidator):  # type: ignore[misc]
            def authenticate_token(self, text: str) -> Token | None:
                return own.tokens.get(text)

        guard = ResourceProtector()
        guard.register_token_validator(Bearer())

        @app.get("/.well-known/openid-configuration")
        def discovery() -> Response:
            return jsonify(
                issuer=own.issuer,
                authorization_endpoint=f"{own.issuer}/authorize",
                token_endpoint=f"{own.issuer}/token",
                userinfo_endpoint=f"{own.issuer}/me",
                jwks_uri=f"{own.issuer}/keys",
                id_token_signing_alg_values_supported=["RS256", "none"],
            )

        @app.get("/keys")
        def keys() -> Response:
            return jsonify(own.keys.as_dict(private=False))

        @app.route("/authorize", methods=["GET", "POST"])
        def authorize() -> Any:
            if request.args.get("code_challenge_method") != "S256":
                return "PKCE is demanded here", 400
            name = request.form.get("as") or request.args.get("as")
            if name is None:
                return FORM
            grant = server.get_consent_grant(end_user=Person(name))
            return server.create_authorization_response(
                grant=grant, grant_user=None if name == "nobody" else Person(name)
            )

        @app.post("/token")
        def token() -> Any:
            return server.create_token_response()

        @app.get("/me")
        def me() -> Response:
            found: Token = guard.acquire_token("openid")
            return jsonify(own.about(found.user))

        return app
