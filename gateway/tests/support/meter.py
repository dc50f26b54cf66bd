"""A Modbus server by others (pymodbus) whose registers hold their own address.

    meter.py tcp     Modbus TCP; prints the port it listens on
    meter.py rtu     RTU frames through TCP; prints the port it listens on
    meter.py PORT    RTU on a serial port; prints "ready"

Serves until its standard input closes.

Units 1 and 2: holding 0-199 and 220-399 (200-219 do not exist), input 0-399: the register's address
(unit 2: the address + 1000); coils and discrete inputs 0-99: true at multiples of 3.
"""

import asyncio
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

FRAMERS = {"tcp": FramerType.SOCKET, "rtu": FramerType.RTU}


def device(unit: int, shift: int) -> SimDevice:
    def words(first: int, end: int) -> SimData:
        values = [address + shift for address in range(first, end)]
        return SimData(first, values=values, datatype=DataType.REGISTERS)

    bits = SimData(0, values=[address % 3 == 0 for address in range(100)], datatype=DataType.BITS)
    holding = [words(0, 200), words(220, 400)]
    return SimDevice(unit, simdata=([bits], [bits], holding, [words(0, 400)]))


async def main() -> None:
    devices = [device(1, 0), device(2, 1000)]
    [place] = sys.argv[1:]
    if place in FRAMERS:
        server = ModbusTcpServer(devices, framer=FRAMERS[place], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        print(server.transport.sockets[0].getsockname()[1], flush=True)
    else:
        server = ModbusSerialServer(devices, framer=FramerType.RTU, port=place, baudrate=115200)
        await server.serve_forever(background=True)
        print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
