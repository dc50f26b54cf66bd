"""A serial line with another master on it, both sides by others (pymodbus), and a tap.

    other_master.py PERIOD_S [COMMAND...]

A pymodbus RTU server (units 1 and 2) and a pymodbus RTU client talk over two pseudo-terminals that
are wired to one another; everything either of them sends is copied to a third one. Prints that
third one's path, then polls for good until its standard input closes:

  unit 1: holding 0-9, then holding 100-101, input 20-24, coils 0-9; unit 2: holding 0-9
  with `writes`: also writes holding 50 of unit 1 after each round
  with `silent`: also asks unit 9, which never answers

Registers hold their address, of unit 2 the address + 1000; coils are true at multiples of 3.
Each line on standard input is answered with the number of bytes that came out of the tap's side:
what the listener sent.
"""

import asyncio
import logging
import os
import sys
import tty

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

sent_by_listener = 0


def device(unit: int, shift: int) -> SimDevice:
    values = [address + shift for address in range(400)]
    words = SimData(0, values=values, datatype=DataType.REGISTERS)
    bits = SimData(0, values=[address % 3 == 0 for address in range(100)], datatype=DataType.BITS)
    return SimDevice(unit, simdata=([bits], [bits], [words], [words]))


def terminal() -> tuple[int, str]:
    """A pseudo-terminal: the end we hold and the path of the other."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    # `theirs` stays open, or the end we hold would report a hang-up whenever nobody has it open.
    return ours, os.ttyname(theirs)


def copy(source: int, targets: list[int]) -> None:
    data = os.read(source, 4096)
    for target in targets:
        os.write(target, data)


def ask(master: int, server: int, tap: int) -> None:
    data = os.read(master, 4096)
    os.write(tap, data)
    # Unit 9 hears nothing, so it says nothing.
    if data[0] != 9:
        os.write(server, data)


def count(tap: int) -> None:
    global sent_by_listener
    sent_by_listener += len(os.read(tap, 4096))


async def poll(client: AsyncModbusSerialClient, period: float, commands: list[str]) -> None:
    while True:
        begin = asyncio.get_running_loop().time()
        await client.read_holding_registers(0, count=10, device_id=1)
        await client.read_holding_registers(100, count=2, device_id=1)
        await client.read_input_registers(20, count=5, device_id=1)
        await client.read_coils(0, count=10, device_id=1)
        await client.read_holding_registers(0, count=10, device_id=2)
        if "writes" in commands:
            await client.write_register(50, 50, device_id=1)
        if "silent" in commands:
            try:
                await client.read_holding_registers(0, count=10, device_id=9)
            except Exception:  # a timeout
                pass
        await asyncio.sleep(max(0.0, begin + period - asyncio.get_running_loop().time()))


async def main(period: float, commands: list[str]) -> None:
    # It reports the silent unit at length.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()
    (a, master_path), (b, server_path), (tap, tap_path) = terminal(), terminal(), terminal()
    loop.add_reader(a, ask, a, b, tap)
    loop.add_reader(b, copy, b, [a, tap])
    loop.add_reader(tap, count, tap)
    server = ModbusSerialServer(
        [device(1, 0), device(2, 1000)],
        framer=FramerType.RTU,
        port=server_path,
        baudrate=19200,
        ignore_missing_devices=True,
    )
    await server.serve_forever(background=True)
    client = AsyncModbusSerialClient(
        master_path, framer=FramerType.RTU, baudrate=19200, timeout=0.4, retries=0
    )
    await client.connect()
    print(tap_path, flush=True)
    polling = asyncio.create_task(poll(client, period, commands))
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(sent_by_listener, flush=True)
    polling.cancel()


asyncio.run(main(float(sys.argv[1]), sys.argv[2:]))
