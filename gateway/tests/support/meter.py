"""A Modbus TCP server by others (pymodbus) whose registers hold their own address.

Prints the port it listens on and serves until its standard input closes.

Units 1 and 2:
  holding 0-199 and 220-399 (200-219 do not exist), input 0-399: the register's address
  (unit 2: the address + 1000); coils and discrete inputs 0-99: true at multiples of 3.
"""

import asyncio
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def device(unit: int, shift: int) -> SimDevice:
    def words(first: int, end: int) -> SimData:
        values = [address + shift for address in range(first, end)]
        return SimData(first, values=values, datatype=DataType.REGISTERS)

    bits = SimData(0, values=[address % 3 == 0 for address in range(100)], datatype=DataType.BITS)
    holding = [words(0, 200), words(220, 400)]
    return SimDevice(unit, simdata=([bits], [bits], holding, [words(0, 400)]))


async def main() -> None:
    server = ModbusTcpServer([device(1, 0), device(2, 1000)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
