"""What somebody who is logged in can do on the start page."""

import re

import pytest
from playwright.async_api import expect

from protocol.account import AccountGet
from server import Server
from tests.authenticator import Authenticator
from tests.browser.steps import (
    OTHER_PASSWORD,
    PASSWORD,
    Visit,
    is_logged_in,
    log_in,
    open_setting,
    sees,
)
from tests.conftest import Person

pytestmark = pytest.mark.browser


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
