"""The server's start page, in a real browser, against a real server."""

import json
import re

import pytest
from playwright.async_api import expect

from protocol.account import AccountUpdate
from server import Server
from tests.browser.conftest import Complaints
from tests.browser.steps import (
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

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=\"document.title='ran'\">"


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


async def test_a_refresh_whose_answer_was_lost_is_repeated(server: Server, ann: Person, visit: Visit) -> None:
    page = await visit(server.public_url)
    await log_in(page, "ann")
    await is_logged_in(page, "ann")
    before = await page.evaluate("sessionStorage.getItem('onesocket.login')")
    await page.reload()
    await is_logged_in(page, "ann")
    await page.evaluate("login => sessionStorage.setItem('onesocket.login', login)", before)
    await page.reload()
    await is_logged_in(page, "ann")


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
