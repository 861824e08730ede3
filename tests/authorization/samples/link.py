"""link: whoever is logged in has the server look at a page outside; not at places inside."""

from protocol.link import LinkPreview
from tests.authorization.sample import Sample, Wrong

SAMPLES = {
    "preview": Sample(
        lambda world: LinkPreview(url=f"{world.issuer}/page"),
        wrong={
            "a place inside": Wrong("missing", lambda world: LinkPreview(url=world.server.public_url)),
            "what is no URL": Wrong("missing", lambda world: LinkPreview(url="file:///etc/passwd")),
        },
        proves=lambda reply: reply["title"] == "A page outside",
    ),
}
