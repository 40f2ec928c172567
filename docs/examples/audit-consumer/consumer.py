"""Reads events of a Tiermesh by the file that `tiermesh audit subscribe` wrote, and prints a line for each.

    pip install nats-py nkeys
    python consumer.py siem-1.subscription.json [COUNT]

An event is acknowledged when it was handled: what is not comes again. The same event may come twice; its id tells.
"""

import asyncio
import json
import ssl
import sys

import nats
from nats.errors import TimeoutError


async def main(file, count):
    with open(file, encoding="utf-8") as opened:
        read = json.load(opened)
    tls = None if read["ca_pem"] is None else ssl.create_default_context(cadata=read["ca_pem"])
    bus = await nats.connect(
        read["urls"],
        nkeys_seed_str=read["nkey_seed"],
        inbox_prefix=read["inbox_prefix"],
        tls=tls,
    )
    events = await bus.jetstream().pull_subscribe_bind(read["consumer"], read["stream"])
    done = 0
    while done < count:
        try:
            batch = await events.fetch(batch=min(100, count - done), timeout=5)
        except TimeoutError:
            continue
        for event in batch:
            # mesh.<cell>.event.<type>.<class>.<process>.<name>
            _, _, _, kind, data_class, process, name = event.subject.split(".")
            job = json.loads(event.data).get("job_id") or "-"
            head = event.headers or {}
            print(head.get("ce-time"), kind, data_class, f"{process}/{name}", job, head.get("ce-id"), flush=True)
            await event.ack()
            done += 1
    await bus.drain()


asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize))
