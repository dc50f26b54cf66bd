"""A meter on a serial line written by others: pymodbus in RTU mode, showing a register image.

    serial_meter.py PORT IMAGE.toml

The image is one of gateway/templates: `registers = [{ table, address, words }]`, answered as unit 1
at 9600 8N1. What is not in the image does not exist. Prints "ready", then serves until its standard
input closes.
"""

import asyncio
import sys
import tomllib

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

NOTHING = SimData(65_000, values=0, datatype=DataType.REGISTERS)
BITS = SimData(0, count=16, values=False, datatype=DataType.BITS)


def table(image: dict, name: str) -> list:
    found = [
        SimData(r["address"], values=r["words"], datatype=DataType.REGISTERS)
        for r in sorted(image["registers"], key=lambda r: r["address"])
        if r["table"] == name
    ]
    return found or [NOTHING]


def only_unit_1(sending: bool, frame: bytes) -> bytes:
    """A meter is silent about questions to others; pymodbus would answer them with an exception."""
    return b"" if sending and frame[:1] != b"\x01" else frame


async def main(port: str, path: str) -> None:
    with open(path, "rb") as file:
        image = tomllib.load(file)
    holding, inputs = table(image, "holding"), table(image, "input")
    device = SimDevice(1, simdata=([BITS], [BITS], holding, inputs))
    server = ModbusSerialServer([device], framer=FramerType.RTU, port=port, baudrate=9600,
                                trace_packet=only_unit_1)
    await server.listen()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main(*sys.argv[1:3]))
