"""The Hub as an OpenID provider. It asks nobody anything: who signs in is decided by the test.

The person is named by ?as= on /oauth/authorize, else by the cookie "as", else by the next of hub.sign_ins, else "ada".
/oauth/as/{name} sets the cookie, so that a browser that visited it signs in as that person from then on.
"""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from tests.doubles.hub.server import FakeHub

LIFE = 8 * 3600  # seconds


@dataclass
class Provider:
    """The codes given out and the key that signs. The key is made when it is first needed: that takes a moment."""

    hub: FakeHub
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _key: RSAKey | None = None

    @property
    def key(self) -> RSAKey:
        self._key = self._key or RSAKey.generate_key(2048, {"kid": "1", "alg": "RS256", "use": "sig"})
        return self._key

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.configuration),
            Route("/oauth/as/{name}", self.become),
            Route("/oauth/authorize", self.authorize),
            Route("/oauth/token", self.token, methods=["POST"]),
            Route("/oauth/userinfo", self.userinfo),
            Route("/oauth/jwks", self.jwks),
        ]

    def configuration(self, request: Request) -> Response:
        url = self.hub.url
        return JSONResponse(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/oauth/authorize",
                "token_endpoint": f"{url}/oauth/token",
                "userinfo_endpoint": f"{url}/oauth/userinfo",
                "jwks_uri": f"{url}/oauth/jwks",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": ["openid", "profile", "inference-api", "jobs", "contribute-repos", "read-billing"],
            }
        )

    def become(self, request: Request) -> Response:
        response = PlainTextResponse(f"You sign in as {request.path_params['name']} from now on.")
        response.set_cookie("as", request.path_params["name"])
        return response

    def authorize(self, request: Request) -> Response:
        asked = request.query_params
        waiting = self.hub.sign_ins.pop(0) if self.hub.sign_ins else "ada"
        who = asked.get("as") or request.cookies.get("as") or waiting
        if asked.get("response_type") != "code" or who not in self.hub.people:
            return PlainTextResponse("bad request", 400)
        code = secrets.token_urlsafe(16)
        kept = ("client_id", "redirect_uri", "nonce", "scope", "code_challenge")
        self.codes[code] = {"who": who} | {name: asked[name] for name in kept if name in asked}
        joint = "&" if "?" in asked["redirect_uri"] else "?"
        back = urlencode({"code": code, "state": asked.get("state", "")})
        return RedirectResponse(f"{asked['redirect_uri']}{joint}{back}", 302)

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        given = self.codes.pop(form.get("code", ""), None)
        client = _client(request, form)
        if given is None or client != given["client_id"] or form.get("redirect_uri") != given["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        challenge = given.get("code_challenge")
        if challenge and challenge != _s256(form.get("code_verifier", "")):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access = f"hf_oauth_{secrets.token_urlsafe(12)}"
        self.hub.tokens[access] = given["who"]
        claims = self._claims(given["who"]) | {"iss": self.hub.url, "aud": client, "iat": int(time.time())}
        claims |= {"exp": int(time.time()) + LIFE} | ({"nonce": given["nonce"]} if "nonce" in given else {})
        return JSONResponse(
            {
                "access_token": access,
                "token_type": "bearer",
                "expires_in": LIFE,
                "scope": given.get("scope", "openid profile"),
                "id_token": jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key),
            }
        )

    def userinfo(self, request: Request) -> Response:
        who = self.hub.who(request)
        return JSONResponse(self._claims(who) if who else {"error": "invalid_token"}, 200 if who else 401)

    def jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    def _claims(self, who: str) -> dict[str, Any]:
        person = self.hub.people[who]
        return {
            "sub": person["id"],
            "name": person["fullname"],
            "preferred_username": who,
            "profile": f"{self.hub.url}/{who}",
            "picture": f"{self.hub.url}{person['avatarUrl']}",
            "website": "",
            "isPro": person["isPro"],
            "canPay": person["canPay"],
            "orgs": [],
        }


def _client(request: Request, form: dict[str, str]) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return base64.b64decode(value).decode().partition(":")[0]
    return form.get("client_id", "")


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
