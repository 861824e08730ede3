"""What a person does on the server's pages, again and again."""

from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect

from tests.conftest import Person

Visit = Callable[[str], Awaitable[Page]]
PASSWORD, OTHER_PASSWORD = Person.password, "staple battery horse"


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


async def to_register(page: Page) -> Page:
    await page.get_by_role("button", name="Create an account").click()
    return page
