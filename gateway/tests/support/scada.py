"""A control system by others (pymodbus) that reads what it may and tries everything it may not.

    scada.py PORT UNIT

Prints one line of JSON: `read` has what each read brought, `refused` the exception code with which
each other function of pymodbus's client was refused (null if it was carried out).
"""

import asyncio
import json
import sys

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu.file_message import FileRecord


async def main(port: int, unit: int) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=20, retries=0)
    await client.connect()
    read, refused = {}, {}
    for name, call in {
        "holding": client.read_holding_registers(10, count=5, device_id=unit),
        "input": client.read_input_registers(390, count=10, device_id=unit),
        "most": client.read_input_registers(0, count=125, device_id=unit),
        "hole": client.read_holding_registers(205, count=2, device_id=unit),
    }.items():
        answer = await call
        read[name] = {"exception": answer.exception_code} if answer.isError() else answer.registers
    for name, call in {
        "coils": client.read_coils(0, count=20, device_id=unit),
        "discrete": client.read_discrete_inputs(3, count=9, device_id=unit),
    }.items():
        answer = await call
        read[name] = {"exception": answer.exception_code} if answer.isError() else answer.bits
    record = FileRecord(file_number=1, record_number=0, record_length=2)
    written = FileRecord(file_number=1, record_number=0, record_data=b"\x00\x01")
    for name, call in {
        "write_coil": client.write_coil(1, True, device_id=unit),
        "write_register": client.write_register(10, 4711, device_id=unit),
        "write_coils": client.write_coils(1, [True] * 9, device_id=unit),
        "write_registers": client.write_registers(10, [1, 2, 3], device_id=unit),
        "mask_write_register": client.mask_write_register(address=10, device_id=unit),
        "readwrite_registers": client.readwrite_registers(
            read_address=10, read_count=1, write_address=10, values=[7], device_id=unit
        ),
        "write_file_record": client.write_file_record([written], device_id=unit),
        "read_file_record": client.read_file_record([record], device_id=unit),
        "read_fifo_queue": client.read_fifo_queue(address=10, device_id=unit),
        "read_exception_status": client.read_exception_status(device_id=unit),
        "diag_query_data": client.diag_query_data(b"\x00\x01", device_id=unit),
        "diag_restart_communication": client.diag_restart_communication(False, device_id=unit),
        "diag_get_comm_event_counter": client.diag_get_comm_event_counter(device_id=unit),
        "diag_get_comm_event_log": client.diag_get_comm_event_log(device_id=unit),
        "report_device_id": client.report_device_id(device_id=unit),
        "read_device_information": client.read_device_information(device_id=unit),
    }.items():
        answer = await call
        refused[name] = answer.exception_code if answer.isError() else None
    print(json.dumps({"read": read, "refused": refused}), flush=True)
    client.close()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
