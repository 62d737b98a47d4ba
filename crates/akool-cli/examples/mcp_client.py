"""Plans a translation, creates it within a limit, waits in steps and saves the files. It needs `pip install mcp`."""
import asyncio, json, sys
from mcp import Client, StdioServerParameters

AKOOL = sys.argv[1:] or ["akool", "--sandbox", "mcp", "--max-credits", "25", "--output", "out"]
VIDEO = {"url": "https://example.com/talk.mp4", "to": ["es", "fr"]}

async def main():
    async with Client(StdioServerParameters(command=AKOOL[0], args=AKOOL[1:])) as client:
        async def call(tool, arguments):
            result = await client.call_tool(tool, arguments)
            print(tool, "failed" if result.is_error else "succeeded", json.dumps(result.structured_content))
            return result.structured_content
        await call("plan", VIDEO)
        created = await call("translate", VIDEO)
        jobs = pending = [language["id"] for language in created["languages"] if "id" in language]
        while pending:
            pending = (await call("wait", {"ids": pending}))["pending"]
        await call("download", {"ids": jobs})
        await call("translate", VIDEO | {"to": ["es", "fr", "de", "ja"]})

asyncio.run(main())
