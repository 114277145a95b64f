"""What stands before every route: caller, scope, host, origin, sizes, quotas, and the headers of answers."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from fastapi.routing import iter_route_contexts

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.problems import ServiceProblem
from nnunet_losses.serve.http.security.access import required_scope
from nnunet_losses.serve.http.security.caller import Scope
from nnunet_losses.serve.http.security.key_store import changing
from nnunet_losses.serve.http.security.keys import create_key
from nnunet_losses.serve.http.security.quotas import Quotas
from nnunet_losses.serve.http.security.startup import Unsafe, check_startup
from nnunet_losses.serve.http.settings import Settings

from ..fakes import problem
from .gates import Guarded, bearer
from .tokens import AUDIENCE, ISSUER, Provider

if TYPE_CHECKING:
    from pathlib import Path

KEYS: dict[str, str] = {}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    with changing(path) as keys:
        for scope in Scope:
            KEYS[scope], record = create_key(f"holder-of-{scope}", [scope])
            keys.append(record)
    return path


@pytest.fixture(scope="module")
def guarded(keys_file: Path) -> Guarded:
    return Guarded(keys_file=keys_file)


def test_without_keys_everybody_is_anonymous() -> None:
    answer = Guarded().ask("POST", "/v1/jobs").json()
    assert answer == {"caller": "anonymous", "scopes": ["admin", "archives", "metrics", "segment"]}


def test_a_key_is_asked_for_and_names_the_caller(guarded: Guarded) -> None:
    response = guarded.ask("POST", "/v1/jobs")
    problem(response, 401, "auth.required")
    assert response.headers["www-authenticate"] == 'Bearer realm="nnunet-losses"'
    for _ in range(2):
        answer = guarded.ask("POST", "/v1/jobs", headers=bearer(KEYS["segment"]))
        assert answer.json() == {"caller": "key:holder-of-segment", "scopes": ["segment"]}


@pytest.mark.parametrize(
    "header", ["Bearer nnl_0_0", "Basic YTpi", "Bearer", "Bearer  ", "bearer \xfc", "nnl_"]
)
def test_what_is_no_key_is_refused(guarded: Guarded, header: str) -> None:
    response = guarded.ask(headers={"Authorization": header.encode("latin-1")})
    problem(response, 401, "auth.invalid")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_scopes_are_kept_apart(guarded: Guarded) -> None:
    response = guarded.ask("POST", "/v1/models/liver/reload", headers=bearer(KEYS["segment"]))
    problem(response, 403, "auth.scope")
    assert 'error="insufficient_scope", scope="admin"' in response.headers["www-authenticate"]
    problem(guarded.ask("GET", "/metrics", headers=bearer(KEYS["segment"])), 403, "auth.scope")
    problem(guarded.ask("POST", "/v1/jobs", headers=bearer(KEYS["metrics"])), 403, "auth.scope")
    for path in ("/metrics", "/v1/jobs", "/v1/models/liver/reload"):
        assert guarded.ask("POST", path, headers=bearer(KEYS["admin"])).status_code == 200


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/ui/", "/openapi.json"]
)
def test_probes_and_the_page_need_no_key(guarded: Guarded, path: str) -> None:
    assert guarded.ask("GET", path).json()["caller"] == "anonymous"
    problem(guarded.ask("POST", path), 401, "auth.required")


@pytest.mark.parametrize(
    "path", ["/V1/models", "/healthz/", "/healthz%0a", "/ui%2f..%2fv1/jobs", "/uix", "/v1", "/x"]
)
def test_no_other_spelling_goes_around_the_gate(guarded: Guarded, path: str) -> None:
    if path.startswith("/ui%2f"):  # under /ui, where only the page's own files are looked up
        assert guarded.ask("GET", path).status_code == 200
    else:
        problem(guarded.ask("GET", path), 401, "auth.required")


def test_every_route_of_the_service_has_a_scope() -> None:
    """A new route that nobody thought of needs ``admin``: decide here what it really needs."""
    app = create_app(Settings(bundles=["absent.bundle"]))
    public = set()
    for found in iter_route_contexts(app.routes):
        path = re.sub(r"{[^}]+}", "x", found.path)
        for method in found.methods or {"GET"}:
            scope = required_scope(method, path)
            if scope is None:
                public.add(found.path)
            elif scope is Scope.ADMIN:
                assert found.path.endswith("/reload"), f"{method} {found.path} needs admin: is that meant?"
    expected = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2", "/openapi.json"}
    assert {
        path for path in public if not path.startswith("/ui") and path not in {"/", "/favicon.ico"}
    } == expected


def test_tokens_of_an_issuer_are_taken_beside_keys(keys_file: Path, tmp_path: Path) -> None:
    provider = Provider()
    (tmp_path / "jwks.json").write_bytes(provider.key_set())
    guarded = Guarded(
        keys_file=keys_file, oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_jwks=str(tmp_path / "jwks.json")
    )
    assert guarded.ask(headers=bearer(provider.token())).json()["caller"] == "token:dr-who"
    assert guarded.ask(headers=bearer(KEYS["segment"])).json()["caller"] == "key:holder-of-segment"
    problem(guarded.ask(headers=bearer(Provider().token())), 401, "auth.invalid")
    problem(guarded.ask(headers=bearer(provider.token(scope="openid"))), 403, "auth.scope")


def test_where_nobody_can_be_judged_nobody_gets_in(tmp_path: Path) -> None:
    token, record = create_key("ward", [Scope.ADMIN])
    path = tmp_path / "keys.json"
    with changing(path) as keys:
        keys.append(record)
    guarded = Guarded(keys_file=path)
    assert guarded.ask(headers=bearer(token)).status_code == 200
    path.write_text("{}x")
    response = guarded.ask(headers=bearer(token))
    problem(response, 503, "auth.unavailable")
    assert str(tmp_path) not in response.text
    guarded = Guarded(oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_jwks=str(tmp_path / "absent.json"))
    problem(guarded.ask(headers=bearer(Provider().token())), 503, "auth.unavailable")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "10.0.0.7", "seg.example"]
)
def test_our_hosts_are_answered(host: str) -> None:
    assert Guarded(allowed_hosts="seg.example, other").ask(headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "evil@localhost", ""]
)
def test_other_hosts_are_refused(host: str, keys_file: Path) -> None:
    for guarded in (Guarded(allowed_hosts="seg.example"), Guarded()):
        for path in ("/v1/models", "/healthz", "/ui/"):
            problem(guarded.ask("GET", path, headers={"Host": host}), 421, "request.host")
    named = Guarded(keys_file=keys_file, allowed_hosts="seg.example")
    problem(named.ask(headers=bearer(KEYS["segment"]) | {"Host": host}), 421, "request.host")


def test_where_callers_authenticate_names_are_free(guarded: Guarded) -> None:
    """A rebound name brings a stranger's page here, but not a key."""
    assert guarded.ask(headers=bearer(KEYS["segment"]) | {"Host": "segmentation.hospital"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://viewer.example", "Sec-Fetch-Site": "cross-site"}, True),  # among cors_origins
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:9999"}, False),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://viewer.example.evil.example"}, False),
    ],
)
def test_other_sites_cannot_make_work(headers: dict[str, str], passes: bool) -> None:
    guarded = Guarded(cors_origins="https://viewer.example")
    for method in ("POST", "DELETE"):
        response = guarded.ask(method, "/v1/jobs", headers=headers)
        if passes:
            assert response.status_code == 200
        else:
            problem(response, 403, "request.origin")
    assert guarded.ask("GET", headers=headers).status_code == 200


def test_cors_is_off_until_an_origin_is_named(keys_file: Path) -> None:
    preflight = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "POST"}
    off = Guarded(keys_file=keys_file)
    for method, path in [("OPTIONS", "/v1/jobs"), ("GET", "/v1/models"), ("GET", "/healthz")]:
        assert "access-control-allow-origin" not in off.ask(method, path, headers=preflight).headers
    on = Guarded(keys_file=keys_file, cors_origins="https://viewer.example")
    asked = preflight | {"Access-Control-Request-Headers": "authorization"}
    response = on.ask("OPTIONS", "/v1/jobs", headers=asked)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "access-control-allow-credentials" not in response.headers
    refused = on.ask("GET", headers={"Origin": "https://viewer.example"})
    assert (
        refused.headers["access-control-allow-origin"] == "https://viewer.example"
    )  # so that the page learns why
    stranger = on.ask("OPTIONS", "/v1/jobs", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize("path", ["/v1/models", "/nothing", "/healthz", "/v1/jobs/x/artifacts/mask"])
def test_every_answer_tells_browsers_to_be_careful(guarded: Guarded, path: str) -> None:
    for headers in ({}, bearer(KEYS["admin"])):
        found = guarded.ask("GET", path, headers=headers).headers
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cache-control"] == "no-store"
        assert found["x-frame-options"] == "DENY"
        assert found["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert "strict-transport-security" not in found


def test_the_page_may_run_its_own_script_and_nothing_else(guarded: Guarded) -> None:
    policy = guarded.ask("GET", "/ui/").headers["content-security-policy"]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives["script-src"] == "'self'"
    assert directives["default-src"] == directives["frame-ancestors"] == "'none'"
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_tls_is_remembered_by_browsers() -> None:
    secure = Guarded(base_url="https://localhost").ask()
    assert secure.headers["strict-transport-security"] == "max-age=31536000"


def test_heads_are_bounded(guarded: Guarded) -> None:
    problem(guarded.ask("GET", f"/v1/models?x={'a' * 5000}"), 414, "request.target_too_long")
    problem(guarded.ask("GET", f"/{'a' * 5000}"), 414, "request.target_too_long")
    many = {f"X-{index}": "a" * 100 for index in range(300)}
    problem(guarded.ask(headers=many), 431, "request.headers_too_large")


def test_one_caller_cannot_take_all_places(keys_file: Path) -> None:
    guarded = Guarded(keys_file=keys_file, max_requests_per_caller=2, retry_after=7)

    async def play() -> None:
        async with guarded.client() as client:
            mine, other = bearer(KEYS["segment"]), bearer(KEYS["admin"])
            held = [asyncio.create_task(client.post("/v1/jobs?wait=1", headers=mine)) for _ in range(2)]
            await guarded.until_waiting(2)
            refused = await client.post("/v1/jobs", headers=mine)
            problem(refused, 429, "request.quota")
            assert refused.headers["retry-after"] == "7"
            assert (await client.get("/v1/models", headers=mine)).status_code == 200
            assert (await client.post("/v1/jobs", headers=other)).status_code == 200
            guarded.release.set()
            assert [reply.status_code for reply in await asyncio.gather(*held)] == [200, 200]
            assert (await client.post("/v1/jobs", headers=mine)).status_code == 200

    asyncio.run(play())


def test_the_server_takes_so_many_requests_and_still_answers_probes() -> None:
    guarded = Guarded(max_requests=3)

    async def play() -> None:
        async with guarded.client() as client:
            held = [asyncio.create_task(client.get("/v1/models?wait=1")) for _ in range(3)]
            await guarded.until_waiting(3)
            refused = await client.get("/v1/models")
            problem(refused, 503, "service.busy")
            assert refused.headers["retry-after"] == "10"
            assert (await client.get("/healthz")).status_code == 200
            guarded.release.set()
            await asyncio.gather(*held)
            assert (await client.get("/v1/models")).status_code == 200

    asyncio.run(play())


def test_requests_are_counted_by_time() -> None:
    now = 0.0
    quotas = Quotas(Settings(requests_per_minute=6), retry_after=10, monotonic=lambda: now)

    def sent(caller: str) -> int:
        """Send until one is refused."""
        for count in range(20):
            try:
                with quotas.change_of(caller):
                    continue
            except ServiceProblem as refused:
                problem = refused.problem
            assert problem.code == "request.quota"
            assert 1 <= int(problem.headers["Retry-After"]) <= 10
            return count
        return 20

    assert (sent("a"), sent("b")) == (6, 6)
    now = 10.0
    assert sent("a") == 1
    now = 1000.0
    assert sent("a") == 6
    for number in range(5000):
        with quotas.change_of(f"caller-{number}"):
            pass
    assert len(quotas._allowances) <= 4096
    assert quotas._by_caller == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0", "keys_file": "absent.json"}, "nnunet-losses keys create NAME"),
        ({"tls_certificate": "absent.pem", "tls_key": "absent.key"}, "absent.pem"),
        (
            {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks": "http://login.example"},
            "Use https",
        ),
    ],
)
def test_the_server_does_not_start_with_what_cannot_work(settings: dict[str, str], words: str) -> None:
    with pytest.raises(Unsafe, match=words):
        check_startup(Settings(**settings))


def test_the_server_does_not_start_without_a_valid_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with changing(path):
        pass
    with pytest.raises(Unsafe, match="holds no valid key"):
        check_startup(Settings(keys_file=path))


def test_open_addresses_are_warned_of(keys_file: Path) -> None:
    assert check_startup(Settings()) == ()
    (warning,) = check_startup(Settings(host="0.0.0.0", keys_file=keys_file))
    assert "without TLS" in warning
    (warning,) = check_startup(Settings(host="0.0.0.0", allow_remote=True))
    assert "not authenticated" in warning


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": ISSUER},
        {"tls_key": "x.pem"},
        {"oidc_algorithms": "none"},
        {"oidc_algorithms": "RS256,HS256"},
        {"cors_origins": "*"},
        {"cors_origins": "https://viewer.example/path"},
        {"allowed_hosts": "*"},
        {"allowed_hosts": "seg.example:8000"},
        {"max_requests": 0},
        {"oidc_leeway": 3600},
    ],
)
def test_unsafe_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)
