"""A program in another language: sends both kinds of events, asks, and reads an event of a node."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys


def install():
    """The client, kept outside of the build so that it is fetched once."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "catga" / "nats-py-2.11"
    if not (cache / "nats").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(cache), "nats-py>=2.11,<3"]
        subprocess.run(command, check=True)
    sys.path.insert(0, str(cache))


async def main(url):
    import nats

    client = await nats.connect(url)
    await client.publish("catga.event.catga-tests.Rumour", b'{"number": 42}')
    await client.jetstream().publish("catga.reliable.catga-tests.Fact", b'{"number": 41}')
    answer = await client.request("catga.request.catga-tests.Double", b'{"number": 21}', timeout=5)
    assert json.loads(answer.data) == 42, answer.data
    seen = asyncio.get_running_loop().create_future()

    async def note(message):
        event = json.loads(message.data)
        if event.get("specversion") == "1.0" and not seen.done():
            seen.set_result(event)

    await client.subscribe("catga.event.catga-tests.Rumour", cb=note)
    event = await asyncio.wait_for(seen, 20)
    assert event["type"] == "catga-tests.Rumour" and event["data"]["number"] >= 1000, event
    await client.close()


install()
asyncio.run(main(sys.argv[1]))
