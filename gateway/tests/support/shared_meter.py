"""A Modbus TCP meter by others (pymodbus) that remembers what reaches it.

Prints the port it listens on. Every line on standard input is answered with one line of JSON: how
often each function code has arrived since the start. Serves until its standard input closes.

Unit 7: holding and input registers 0-399 hold their own address, except holding 200-219, which do
not exist; coils and discrete inputs 0-99 are true at multiples of 3.
"""

import asyncio
import collections
import json
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

arrived: collections.Counter = collections.Counter()


def trace(sending, pdu):
    if not sending:
        arrived[str(pdu.function_code)] += 1
    return pdu


def words(first: int, end: int) -> SimData:
    return SimData(first, values=list(range(first, end)), datatype=DataType.REGISTERS)


async def main() -> None:
    bits = SimData(0, values=[address % 3 == 0 for address in range(100)], datatype=DataType.BITS)
    meter = SimDevice(7, simdata=([bits], [bits], [words(0, 200), words(220, 400)], [words(0, 400)]))
    server = ModbusTcpServer([meter], address=("127.0.0.1", 0), trace_pdu=trace)
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(arrived), flush=True)
    await server.shutdown()


asyncio.run(main())
