"""What an engineer writes in an afternoon: every device once a second, its registers in one request,
the values in a bounded queue in memory. Nothing is signed, nothing is durable, nothing is sent.

    python pymodbus_poll.py REGISTERS PORT...
"""

import asyncio
import collections
import json
import sys
import time

from pymodbus.client import AsyncModbusTcpClient

QUEUE = collections.deque(maxlen=600)


async def poll(name, port, registers):
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0)
    while not await client.connect():
        await asyncio.sleep(1)
    while True:
        await asyncio.sleep(1 - time.time() % 1)
        now = int(time.time())
        answer = await client.read_holding_registers(0, count=registers, device_id=1)
        if answer.isError():
            continue
        values = {f"{name}.r{at}": word for at, word in enumerate(answer.registers)}
        QUEUE.append(json.dumps({"ts": now, "values": values}))


async def main(registers, ports):
    await asyncio.gather(*(poll(f"meter-{n}", port, registers) for n, port in enumerate(ports)))


asyncio.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
