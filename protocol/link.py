"""link: what a page says of itself, so that a link can be shown with its title."""

from typing import Annotated

from msgspec import Meta

from protocol.frame import Body, Request, Url


class Preview(Body, frozen=True):
    """What a page says of itself: words of strangers, one line each, and never markup."""

    url: Annotated[str, Meta(description="Where the link led in the end.")]
    title: str | None
    description: str | None
    site: Annotated[str | None, Meta(description="What the page calls its site; the host where it is silent.")]
    image: Annotated[
        str | None,
        Meta(description="The URL of a picture; whoever loads it shows that site their address."),
    ]


class LinkPreview(Request[Preview], tag="link.preview", frozen=True):
    """Have the server look at a page of the open internet, on http or https.

    `missing` where there is nothing to show: no such page, none in time, or a place that the server does not look at.
    """

    url: Annotated[Url, Meta(description="With http:// or https://; names in ASCII.")]
