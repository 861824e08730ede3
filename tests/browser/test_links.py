"""The pages behind links: owning the server, confirming an address, a new password, and outside services."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
from aiohttp import web
from playwright.async_api import expect

from protocol.account import AccountGet
from server import Server
from server.external import Provider
from tests.browser.steps import (
    OTHER_PASSWORD,
    PASSWORD,
    Visit,
    is_logged_in,
    log_in,
    open_setting,
    register,
    sees,
    to_register,
)
from tests.conftest import Connector, Person, Starter
from tests.mailbox import Mailbox

pytestmark = pytest.mark.browser


async def test_the_owner_link_makes_a_new_account_the_owner(start: Starter, visit: Visit) -> None:
    server = await start()
    link = await server.owner_link()
    assert link is not None
    page = await visit(link)
    await expect(page).to_have_url(f"{server.public_url}/claim")
    await sees(page, "Take ownership of this server")
    await page.reload()  # the ticket is kept by the tab until it is used
    await register(page, "ann")
    await sees(page, "@ann owns this server now.")
    await page.get_by_role("link", name="Go to your account").click()
    await expect(page.locator(".badge").first).to_have_text("Owner")
    assert await server.owner_link() is None
    late = await visit(link)
    await register(late, "mallory")
    await expect(late.get_by_role("alert").first).to_contain_text("used or is too old")


async def test_whoever_is_logged_in_already_is_asked_before_owning(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await is_logged_in(page, "ann")
    link = await server.owner_link()
    assert link is not None
    await page.goto(link)
    await sees(page, "You are logged in as @ann.")
    assert (await ann.call(AccountGet())).role == "member"
    await page.get_by_role("button", name="Make @ann the owner").click()
    await sees(page, "This server is yours")
    assert (await ann.call(AccountGet())).role == "owner"


async def test_an_address_is_confirmed_by_its_link(server: Server, mailbox: Mailbox, visit: Visit) -> None:
    page = await visit(server.public_url)
    await register(await to_register(page), "ann", "ann@example.org")
    await sees(page, "not confirmed yet")
    mail = await mailbox.next("ann@example.org")
    elsewhere = await visit(mail.link)
    await sees(elsewhere, "Address confirmed")
    await expect(elsewhere).to_have_url(f"{server.public_url}/verify")
    await page.reload()
    await sees(page, "ann@example.org · confirmed")
    again = await visit(mail.link)
    await sees(again, "This link did not work")


async def test_a_forgotten_password_is_replaced_by_its_link(
    server: Server, connect: Connector, mailbox: Mailbox, visit: Visit
) -> None:
    await connect("ann", email="ann@example.org")
    await sees(await visit((await mailbox.next("ann@example.org")).link), "Address confirmed")
    page = await visit(server.public_url)
    await page.get_by_role("link", name="Forgot your password?").click()
    await page.get_by_label("Email").fill("ann@example.org")
    await page.get_by_role("button", name="Send the link").click()
    await sees(page, "Look into your mailbox")
    await page.goto((await mailbox.next("ann@example.org")).link)
    await expect(page).to_have_url(f"{server.public_url}/reset")
    await page.get_by_label("New password").fill(OTHER_PASSWORD)
    await page.get_by_role("button", name="Set password").click()
    await sees(page, "Password changed")
    await page.get_by_role("link", name="Log in").click()
    await log_in(page, "ann", PASSWORD)
    await expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    await log_in(page, "ann", OTHER_PASSWORD)
    await is_logged_in(page, "ann")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("claim", "This page needs the link that the server printed"),
        ("verify", "This page needs the link from the mail."),
        ("external?error=access_denied&state=x", "The other service did not let you in."),
        ("external?code=x&state=x", "This login was not started in this tab"),
    ],
)
async def test_a_page_without_its_ticket_says_so(server: Server, visit: Visit, path: str, words: str) -> None:
    page = await visit(f"{server.public_url}/{path}")
    await sees(page, words)
    await expect(page).to_have_url(f"{server.public_url}/{path.partition('?')[0]}")


# Outside services


@pytest.fixture
async def acme() -> AsyncIterator[str]:
    """The origin of a service that lets everybody in as the same person, at once."""

    async def authorize(request: web.Request) -> web.StreamResponse:
        back = urlencode({"code": "a-code", "state": request.query["state"]})
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{back}")

    async def token(request: web.Request) -> web.StreamResponse:
        return web.json_response({"access_token": "a-token", "token_type": "bearer"})

    async def user(request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": 42, "login": "wile", "name": "Wile"})

    app = web.Application()
    app.add_routes([web.get("/authorize", authorize), web.post("/token", token), web.get("/user", user)])
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_an_outside_service_lets_somebody_in(start: Starter, acme: str, visit: Visit) -> None:
    urls = {"authorize_url": f"{acme}/authorize", "token_url": f"{acme}/token", "user_url": f"{acme}/user"}
    server = await start(providers=[Provider("acme", "onesocket", title="Acme", **urls)])
    page = await visit(server.public_url)
    await page.get_by_role("button", name="Continue with Acme").click()
    await expect(page.locator("main")).to_contain_text(re.compile(r"Logged in as @wile\.\d{6}", re.IGNORECASE))
    await expect(page).to_have_url(f"{server.public_url}/")
    await open_setting(page, "Password")  # the account has none yet
    await page.get_by_label("New password").fill(PASSWORD)
    await page.get_by_role("button", name="Save password").click()
    await sees(page, "Password saved.")
