"""A TCP connection between a client and a server that can be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Cable:
    """A TCP connection to a server that can be cut, or lose what the server says."""

    def __init__(self, port: int) -> None:
        self._port, self.mute = port, False
        self._writers: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        except ConnectionError:
            writer.transport.abort()
            return
        self._writers += [writer, forth]
        await asyncio.wait(
            [
                asyncio.create_task(self._pump(reader, forth, to_client=False)),
                asyncio.create_task(self._pump(back, writer, to_client=True)),
            ]
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_client: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.mute and to_client:
                    self.mute = False
                    self.cut()
                    return
                writer.write(data)
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def a_cable(port: int) -> AsyncIterator[tuple[Cable, str]]:
    cable = Cable(port)
    async with await asyncio.start_server(cable.carry, "127.0.0.1", 0) as carrier:
        yield cable, f"ws://127.0.0.1:{carrier.sockets[0].getsockname()[1]}"
        cable.cut()
