"""A Modbus TCP server written by others: pymodbus, with its own encoder of numbers.

Unit 1: every input and holding register below 1000 holds its own address.
Unit 2: holding registers with one value of each type, encoded by pymodbus, most significant word
first; the rest of the map does not exist.

Prints the port it listens on, then serves until its standard input closes.
"""

import asyncio
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

OWN_ADDRESS = SimData(0, values=list(range(1000)), datatype=DataType.REGISTERS)
BITS = SimData(0, count=16, values=False, datatype=DataType.BITS)

TYPED = [
    SimData(0, values=[21.5, -0.125], datatype=DataType.FLOAT32),
    SimData(10, values=4_000_000_000, datatype=DataType.UINT32),
    SimData(20, values=-5, datatype=DataType.INT32),
    SimData(30, values=-7, datatype=DataType.INT16),
    SimData(40, values=9_000_000_000_000_000_001, datatype=DataType.UINT64),
    SimData(50, values=0.1, datatype=DataType.FLOAT64),
]


async def main() -> None:
    devices = [
        SimDevice(1, simdata=([BITS], [BITS], [OWN_ADDRESS], [OWN_ADDRESS])),
        SimDevice(2, simdata=([BITS], [BITS], TYPED, [OWN_ADDRESS])),
    ]
    server = ModbusTcpServer(devices, address=("127.0.0.1", 0))
    await server.listen()
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
