"""Passes TCP connections on to another address: pipe.py HOST:PORT HOST:PORT"""

import asyncio
import contextlib
import sys


async def copy(source, target):
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


async def main(listen, target):
    async def pass_on(reader, writer):
        try:
            there, back = await asyncio.open_connection(*target.split(":"))
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(pass_on, *listen.split(":"))
    async with server:
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
