"""A Modbus RTU server by others (pymodbus) whose registers hold their own address.

    serial_meter.py PORT    on a serial port; prints "ready"
    serial_meter.py         RTU frames through TCP; prints the TCP port it listens on

Serves until its standard input closes.

Units 1 and 2: holding 0-199 and 220-399 (200-219 do not exist), input 0-399: the register's address
(unit 2: the address + 1000); coils and discrete inputs 0-99: true at multiples of 3.
"""

import asyncio
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def device(unit: int, shift: int) -> SimDevice:
    def words(first: int, end: int) -> SimData:
        values = [address + shift for address in range(first, end)]
        return SimData(first, values=values, datatype=DataType.REGISTERS)

    bits = SimData(0, values=[address % 3 == 0 for address in range(100)], datatype=DataType.BITS)
    holding = [words(0, 200), words(220, 400)]
    return SimDevice(unit, simdata=([bits], [bits], holding, [words(0, 400)]))


async def main() -> None:
    devices = [device(1, 0), device(2, 1000)]
    if sys.argv[1:]:
        [port] = sys.argv[1:]
        server = ModbusSerialServer(devices, framer=FramerType.RTU, port=port, baudrate=115200)
        await server.serve_forever(background=True)
        print("ready", flush=True)
    else:
        server = ModbusTcpServer(devices, framer=FramerType.RTU, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
