"""The server's own pages, in a real browser, against a real server."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlencode

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from protocol.account import AccountGet, AccountUpdate
from server import Server
from server.oauth import Provider
from tests.authenticator import Authenticator
from tests.browser.conftest import Complaints
from tests.conftest import Connector, Person, Starter
from tests.mailbox import Mailbox

pytestmark = pytest.mark.browser
Visit = Callable[[str], Awaitable[Page]]
PASSWORD, OTHER_PASSWORD = Person.password, "staple battery horse"
HOSTILE = "<img src=x onerror=\"document.title='ran'\">"


async def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.get_by_label("Username or email").fill(name)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Log in").click()


async def register(page: Page, name: str, email: str = "") -> None:
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Email").fill(email)
    await page.get_by_role("button", name="Create an account").click()


async def sees(page: Page, words: str) -> None:
    await expect(page.get_by_text(words)).to_be_visible()


async def is_logged_in(page: Page, name: str) -> None:
    await expect(page.locator("main")).to_contain_text(f"Logged in as @{name}")


async def open_setting(page: Page, name: str) -> None:
    await page.get_by_role("heading", name=name).click()


# Welcome


async def test_the_start_page_shows_a_live_connection(server: Server, visit: Visit) -> None:
    page = await visit(server.public_url)
    await expect(page.get_by_role("status").first).to_have_text("Connected")
    await expect(page.locator(".node dd")).to_have_text(server.node)
    await expect(page.locator(".heartbeat dd")).to_have_text(f"{server.config.heartbeat} s")
    await expect(page.locator(".roundTrip dd")).to_have_text(re.compile(r"^\d+(\.\d)? ms$"))
    await expect(page.get_by_role("group", name="Address")).to_have_text(f"{server.url}/")


async def test_what_the_page_says_to_send_is_answered(server: Server, connect: Connector, visit: Visit) -> None:
    page = await visit(server.public_url)
    frame = json.loads(await page.get_by_role("group", name="First frame").inner_text())
    await expect(page.locator(".answer")).to_contain_text("time")
    answer = json.loads(await page.locator(".answer").inner_text())
    assert frame == {"op": "session.ping", "id": answer["re"]}
    assert list(answer["ok"]) == ["time"]


async def test_a_strangers_socket_rests_before_the_server_closes_it(start: Starter, visit: Visit) -> None:
    server = await start(login_timeout=2.0)
    page = await visit(server.public_url)
    await expect(page.get_by_role("status").first).to_have_text("Reachable")
    assert 4408 not in server.gateway.closes
    await register(await to_register(page), "ann")
    await is_logged_in(page, "ann")


async def to_register(page: Page) -> Page:
    await page.get_by_role("button", name="Create an account").click()
    return page


# Getting in and out


async def test_somebody_registers_reloads_and_logs_out(server: Server, visit: Visit) -> None:
    page = await visit(server.public_url)
    await register(await to_register(page), "zoë")
    await is_logged_in(page, "zoë")
    for _ in range(2):
        await page.reload()
        await is_logged_in(page, "zoë")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Username or email")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Username or email")).to_be_visible()


async def test_the_keyboard_alone_logs_in(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await page.get_by_label("Username or email").focus()
    await page.keyboard.type("ann")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await is_logged_in(page, "ann")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()


async def test_a_wrong_password_shows_its_message(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann", "not the password")
    await expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    await log_in(page, "ann")
    await is_logged_in(page, "ann")


async def test_what_is_wrong_is_said_at_its_field(server: Server, ann: Person, visit: Visit) -> None:
    page = await to_register(await visit(server.public_url))
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password", exact=True).fill("short")
    submit = page.get_by_role("button", name="Create an account")
    await submit.click()
    password, username = page.get_by_label("Password", exact=True), page.get_by_label("Username")
    await expect(password).to_be_focused()
    await expect(password).to_have_accessible_description(re.compile("At least 10 characters"))
    await password.fill(PASSWORD)
    await submit.click()
    await expect(username).to_be_focused()
    await expect(username).to_have_accessible_description(re.compile("Somebody has this name"))


async def test_too_many_tries_say_how_long_to_wait(start: Starter, visit: Visit) -> None:
    server = await start(throttle=1.0)
    page = await visit(server.public_url)
    for _ in range(5):
        await log_in(page, "ann", "not the password")
        await expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    await log_in(page, "ann", "not the password")
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Try again in \d+ min\."))


async def test_a_duplicated_tab_does_not_end_the_login(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await is_logged_in(page, "ann")
    async with page.context.expect_page() as opened:
        await page.evaluate("open('/')")  # with an opener, a new tab begins with a copy of sessionStorage
    twin = await opened.value
    await sees(twin, "in use in another tab")
    await page.reload()
    await is_logged_in(page, "ann")


async def test_a_login_that_is_ended_elsewhere_ends_here(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await is_logged_in(page, "ann")
    other = await visit(server.public_url)
    await log_in(other, "ann")
    await open_setting(other, "Devices")
    await other.get_by_role("button", name="Log out all others").click()
    await sees(other, "2 devices were logged out.")
    await sees(page, "This device was logged out.")


# Keeping the account safe


async def test_two_factor_from_set_up_to_login(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await open_setting(page, "Two-factor login")
    await page.get_by_label("Your password").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    secret = (await page.get_by_role("group", name="Secret").inner_text()).replace(" ", "")
    await expect(page.locator("a.uri")).to_have_attribute("href", re.compile(f"^otpauth://.*{secret}"))
    app = Authenticator(server, secret)
    await page.get_by_label("Code").fill(app.wrong)
    await page.get_by_role("button", name="Turn on").click()
    await expect(page.get_by_role("alert").last).to_contain_text("code is wrong")
    await page.get_by_label("Code").fill(app.totp.now())
    await page.get_by_role("button", name="Turn on").click()
    recovery = (await page.get_by_role("group", name="the recovery codes").inner_text()).split()
    assert len(recovery) == 10
    await page.get_by_role("button", name="I have kept them").click()
    await page.get_by_role("button", name="Log out", exact=True).click()
    for code in (await app.code(), recovery[3]):
        await log_in(page, "ann")
        await page.get_by_label("Code").fill(code)
        await page.get_by_role("button", name="Continue").click()
        await is_logged_in(page, "ann")
        await page.get_by_role("button", name="Log out", exact=True).click()


async def test_two_factor_can_be_turned_off(server: Server, ann: Person, visit: Visit) -> None:
    app = await Authenticator.of(server, ann)
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await page.get_by_label("Code").fill(await app.code())
    await page.get_by_role("button", name="Continue").click()
    await open_setting(page, "Two-factor login")
    await page.get_by_label("Your password").fill(PASSWORD)
    await page.get_by_label("Code or recovery code").fill(app.recovery[0])
    await page.get_by_role("button", name="Turn off").click()
    await expect(page.locator("summary .badge")).to_have_text("Off")
    assert not (await ann.call(AccountGet())).two_factor


async def test_the_password_is_changed_after_the_old_one(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await open_setting(page, "Password")
    await page.get_by_label("Current password").fill("not the password")
    await page.get_by_label("New password").fill(OTHER_PASSWORD)
    await page.get_by_role("button", name="Save password").click()
    await expect(page.get_by_role("alert").first).to_contain_text("wrong")
    await page.get_by_label("Current password").fill(PASSWORD)
    await page.get_by_role("button", name="Save password").click()
    await sees(page, "Password saved.")
    await page.get_by_role("button", name="Log out", exact=True).click()
    await log_in(page, "ann", OTHER_PASSWORD)
    await is_logged_in(page, "ann")


async def test_an_avatar_is_chosen(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await open_setting(page, "Picture")
    await expect(page.get_by_role("radio")).to_have_count(len(server.site.avatars))
    name = next(name for name in server.site.avatars if name != (server.site.avatar_for("ann")))
    await page.get_by_role("radio", name=name).check()
    await sees(page, "Picture saved.")
    await expect(page.locator(".portrait img")).to_have_attribute("src", f"/avatar/{name}.svg")
    assert (await ann.call(AccountGet())).avatar == name


async def test_the_built_in_avatars_are_small_pictures_without_scripts(server: Server) -> None:
    assert len(server.site.avatars) == 24
    for name in server.site.avatars:
        picture = server.site.files[f"/avatar/{name}.svg"].body
        assert len(picture) < 1500
        assert not re.search(rb"<script|<style|<foreignObject|href|\son\w+=", picture)


# Links


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


# When things go wrong


async def test_a_page_reconnects_after_a_restart_and_stays_logged_in(
    start: Starter, visit: Visit, complaints: Complaints
) -> None:
    first = await start()
    page = await visit(first.public_url)
    status = page.get_by_role("status").first
    await register(await to_register(page), "ann")
    await is_logged_in(page, "ann")
    await open_setting(page, "Password")
    await page.get_by_label("Current password").fill("half typed")
    await first.stop()
    await expect(status).not_to_have_text("Connected")
    second = await start(port=first.port)
    await expect(status).to_have_text("Connected")
    await open_setting(page, "Devices")
    await sees(page, "This device")
    assert len(second.gateway.sockets) == 1
    await expect(page.get_by_label("Current password")).to_have_value("half typed")
    complaints.clear()  # the browser tells of every connection that was refused meanwhile


async def test_what_cannot_be_asked_now_says_so(server: Server, visit: Visit, complaints: Complaints) -> None:
    page = await visit(server.public_url)
    await expect(page.get_by_role("status").first).to_have_text("Connected")
    await page.context.set_offline(True)
    for socket in list(server.gateway.sockets):
        socket.abort()
    await log_in(page, "ann")
    alert = page.get_by_role("alert")
    await expect(alert).to_have_text("The server does not answer right now. Try again in a moment.", timeout=20_000)
    complaints.clear()


async def test_hostile_names_are_only_text(server: Server, connect: Connector, visit: Visit) -> None:
    mallory = await connect("mallory", device=HOSTILE)
    await mallory.call(AccountUpdate(display_name=HOSTILE))
    page = await visit(server.public_url)
    await log_in(page, "mallory")
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await open_setting(page, "Devices")
    await expect(page.locator(".devices")).to_contain_text(HOSTILE)
    assert await page.locator("img[onerror], img[src='x']").count() == 0
    assert await page.title() == f"{HOSTILE} · onesocket"


async def test_markup_cannot_be_written_into_the_page_at_all(
    server: Server, visit: Visit, complaints: Complaints
) -> None:
    page = await visit(server.public_url)
    refused = "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    assert await page.evaluate(refused)
    complaints.clear()


async def test_nothing_secret_is_stored_longer_than_the_tab(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await is_logged_in(page, "ann")
    stored = json.loads(
        await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    )
    assert stored[0] == {} and stored[2] == ""
    assert list(stored[1]) == ["onesocket.login"]
    assert set(json.loads(stored[1]["onesocket.login"])) == {"device", "refresh", "nonce"}
    other = await page.context.new_page()
    await other.goto(server.public_url)
    await expect(other.get_by_label("Username or email")).to_be_visible()
