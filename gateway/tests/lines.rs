//! `[[line]]`: ports and connections as they are written down, and what is wrong with them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use gateway::config::{Endpoint, GatewayConfig, LineMode, Parity, SerialNames};
use gateway::{inspect, sampling};

const HEAD: &str = "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/tmp/x\"\n";

/// A device with one point.
fn device(name: &str, rest: &str) -> String {
    format!(
        "[[modbus]]\nname = \"{name}\"\naddress_base = \"pdu\"\n{rest}\n[[modbus.point]]\nname = \"{name}-p\"\ntable = \"holding\"\n\
         address = 0\ntype = \"u16\"\ndecimals = 1\nunit = \"kWh\"\nkind = \"register\"\n"
    )
}

fn parse(text: &str) -> Result<GatewayConfig, String> {
    let nothing = SerialNames::in_dir("/nowhere");
    GatewayConfig::parse_with("gateway.toml", &format!("{HEAD}{text}"), &nothing)
        .map_err(|problems| problems.to_string())
}

/// The messages for a line with these keys and one device on it.
fn problems(line: &str) -> String {
    let text = format!(
        "[[line]]\nname = \"bus\"\n{line}\n{}",
        device("m", "line = \"bus\"")
    );
    parse(&text).unwrap_err()
}

#[test]
fn a_serial_line_has_the_settings_of_the_file_and_its_characters_their_time() {
    let text = format!(
        "[[line]]\nname = \"bus-1\"\nserial = \"/dev/serial/by-id/usb-FTDI-port0\"\nbaud = 19200\nparity = \"even\"\nstop_bits = 1\n\
         data_bits = 8\nrs485 = \"converter\"\npause_ms = 40\nmode = \"listen\"\n{}{}",
        device("m", "line = \"bus-1\"\nunit_id = 3"),
        device("n", "line = \"bus-1\"\nunit_id = 4\nmax_gap = 2"),
    );
    let config = parse(&text).unwrap();
    let [line] = config.lines.as_slice() else {
        panic!("{:?}", config.lines)
    };
    let Endpoint::Serial(port) = &line.endpoint else {
        panic!("{line:?}")
    };
    assert_eq!(
        (port.baud, port.parity, port.stop_bits),
        (19_200, Parity::Even, 1)
    );
    assert_eq!(
        (line.mode, line.pause),
        (LineMode::Listen, Duration::from_millis(40))
    );
    // 11 bits a character: start, eight, parity, stop.
    assert_eq!(line.byte_time().unwrap().as_micros(), 572);
    // A question of 8 bytes, an answer of 25: 33 characters of 11 bits at 19200 bits a second.
    assert_eq!(line.wire_time(8, 25).as_millis(), 18);
    assert_eq!(line.silence(), Duration::from_millis(50));
    assert_eq!(
        line.endpoint.to_string(),
        "/dev/serial/by-id/usb-FTDI-port0, RTU 19200 8E1"
    );
    // Holes are worth less on RTU than on TCP, unless the device says otherwise.
    let gaps: Vec<u16> = config.modbus.iter().map(|device| device.max_gap).collect();
    assert_eq!(gaps, [7, 2]);
    let protocols: Vec<String> = config
        .measurement(|_| 0)
        .devices
        .into_iter()
        .map(|d| d.protocol)
        .collect();
    assert_eq!(protocols, ["modbus-rtu", "modbus-rtu"]);
    assert_eq!(config.warnings, []);
}

#[test]
fn the_defaults_are_those_of_most_meters_and_host_and_port_make_a_line_of_tcp() {
    let text = format!(
        "[[line]]\nname = \"bus\"\nserial = \"/dev/ttyAMA0\"\n[[line]]\nname = \"far\"\nhost = \"h\"\nport = 4001\nprotocol = \"rtu_over_tcp\"\n{}{}{}{}",
        device("a", "line = \"bus\""),
        device("b", "line = \"far\""),
        device("c", "host = \"10.0.0.1\"\nconnect_delay_ms = 20"),
        device(
            "d",
            "host = \"10.0.0.1\"\nunit_id = 2\nconnect_delay_ms = 50"
        ),
    );
    let config = parse(&text).unwrap();
    let shown: Vec<(String, &str, u128)> = config
        .lines
        .iter()
        .map(|line| {
            (
                line.endpoint.to_string(),
                line.endpoint.protocol(),
                line.pause.as_millis(),
            )
        })
        .collect();
    let expected = [
        ("/dev/ttyAMA0, RTU 9600 8N1", "modbus-rtu", 30),
        ("h:4001, RTU over TCP", "modbus-rtu-over-tcp", 30),
        ("10.0.0.1:502", "modbus-tcp", 0),
    ];
    assert_eq!(
        shown,
        expected.map(|(shown, protocol, pause)| (shown.to_owned(), protocol, pause))
    );
    let lines: Vec<usize> = config.modbus.iter().map(|device| device.line).collect();
    assert_eq!(
        lines,
        [0, 1, 2, 2],
        "two units behind one address share its line"
    );
    assert_eq!(config.lines[2].connect_delay, Duration::from_millis(50));
    let report = inspect::report(&config);
    assert!(
        report.contains("Device b: h:4001, RTU over TCP unit 1"),
        "{report}"
    );
}

#[test]
fn each_mistake_of_a_line_is_told_with_its_remedy() {
    for (line, expected) in [
        ("", "line.serial: missing; write where the line leads"),
        (
            "serial = \"/dev/a\"\nhost = \"h\"",
            "line.host: a line is a serial port or a host, not both",
        ),
        (
            "serial = \"/dev/a\"\nbaud = 9601",
            "line.baud: `9601` is not a speed of serial lines; allowed: 1200",
        ),
        (
            "serial = \"/dev/a\"\nparity = \"evn\"",
            "did you mean `even`?",
        ),
        (
            "serial = \"/dev/a\"\ndata_bits = 7",
            "line.data_bits: RTU has 8 data bits",
        ),
        (
            "serial = \"/dev/a\"\nport = 3",
            "line.port: belongs to a line with a host",
        ),
        (
            "host = \"h\"\nbaud = 9600",
            "line.baud: belongs to a serial port; behind a converter",
        ),
        (
            "host = \"h\"\nprotocol = \"rtu_over_tcp\"\nbaud = 9601",
            "line.baud: `9601` is not a speed of serial lines; allowed: 1200",
        ),
        (
            "host = \"h\"\nprotocol = \"rtu_over_tcp\"\nstop_bits = 2",
            "line.stop_bits: says what the converter speaks, for `plan`, together with baud",
        ),
        (
            "host = \"h\"\nprotocol = \"rtu_over_tcp\"\nbaud = 9600\nrs485 = \"kernel\"",
            "line.rs485: belongs to a serial port; behind a converter",
        ),
        (
            "host = \"h\"\nmode = \"listen\"",
            "line.mode: only a bus can be listened on",
        ),
        (
            "host = \"h\"\n[line.tls]\nca_file = \"x\"",
            "line.tls: [line.tls] goes with protocol = \"tls\"",
        ),
        (
            "host = \"h\"\nprotocl = \"tls\"",
            "did you mean `protocol`?",
        ),
    ] {
        let message = problems(line);
        assert!(message.contains(expected), "{line}\n{message}");
        assert!(
            !message.contains("no [[line]]"),
            "its device is not blamed: {message}"
        );
    }
}

#[test]
fn one_port_is_one_line_and_one_unit_of_it_one_device() {
    let two = |first: &str, second: &str| {
        parse(&format!(
            "[[line]]\nname = \"one\"\n{first}\n[[line]]\nname = \"two\"\n{second}\n{}{}",
            device("m", "line = \"one\""),
            device("n", "line = \"two\"")
        ))
        .unwrap_err()
    };
    let message = two("serial = \"/dev/a\"", "serial = \"/dev/a\"\nbaud = 19200");
    assert!(
        message.contains("gateway.toml:9:10: line.serial: /dev/a is already the line in line 5"),
        "{message}"
    );
    let message = two("host = \"h\"", "host = \"h\"\nprotocol = \"rtu_over_tcp\"");
    assert!(
        message.contains("line.host: h:502 is already the line in line 5"),
        "{message}"
    );

    let bus = "[[line]]\nname = \"bus\"\nhost = \"h\"\n";
    let with = |first: &str, second: &str| {
        parse(&format!(
            "{bus}{}{}",
            device("m", first),
            device("n", second)
        ))
        .unwrap_err()
    };
    let message = with("line = \"bus\"\nunit_id = 5", "line = \"bus\"\nunit_id = 5");
    assert!(
        message.contains("modbus.unit_id: unit 5 of bus is already device `m`"),
        "{message}"
    );
    let message = with("line = \"bus\"", "line = \"buss\"");
    assert!(
        message.contains("no [[line]] has the name `buss`; did you mean `bus`?"),
        "{message}"
    );
    let message = with("line = \"bus\"", "host = \"h\"\nunit_id = 2");
    assert!(
        message.contains("modbus.host: h:502 is the line in line 5"),
        "{message}"
    );
    let message = with("line = \"bus\"", "line = \"bus\"\nunit_id = 2\nport = 503");
    assert!(
        message.contains("modbus.port: belongs to the line"),
        "{message}"
    );
    let broadcast = format!(
        "[[line]]\nname = \"bus\"\nserial = \"/dev/a\"\n{}",
        device("m", "line = \"bus\"\nunit_id = 0")
    );
    let message = parse(&broadcast).unwrap_err();
    assert!(message.contains("0 is a broadcast on RTU"), "{message}");
}

#[test]
fn two_names_of_one_port_are_one_port_and_a_bare_name_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    for folder in ["by-id", "by-path"] {
        std::fs::create_dir_all(root.join("serial").join(folder)).unwrap();
    }
    drop(std::fs::File::create(root.join("ttyUSB0")).unwrap());
    let by_id = root.join("serial/by-id/usb-FTDI_A5-if00-port0");
    std::os::unix::fs::symlink("../../ttyUSB0", &by_id).unwrap();
    let names = SerialNames::in_dir(&root);
    let bare = format!(
        "{HEAD}[[line]]\nname = \"bus\"\nserial = \"{}/ttyUSB0\"\n{}",
        root.display(),
        device("m", "line = \"bus\"")
    );
    let config = GatewayConfig::parse_with("gateway.toml", &bare, &names).unwrap();
    let report = inspect::report(&config);
    let expected = format!(
        "Warning: line 6: line.serial: ttyUSB0 may be another adapter after the next restart, and another meter would be read; write serial = \"{}\"",
        by_id.display()
    );
    assert!(report.contains(&expected), "{report}");
    let twice = format!(
        "{bare}[[line]]\nname = \"bus-2\"\nserial = \"{}\"\n",
        by_id.display()
    );
    let message = GatewayConfig::parse_with("gateway.toml", &twice, &names)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("is already the line in line 5"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_watched_on_a_line_that_is_listened_on_is_refused_or_said() {
    let listened = |rest: &str| {
        parse(&format!(
            "[[line]]\nname = \"bus\"\nserial = \"/dev/ttyAMA0\"\nmode = \"listen\"\n{rest}"
        ))
    };
    let register = "table = \"holding\"\naddress = 9\ntype = \"u16\"\n";
    for (key, tables) in [
        (
            "modbus.identity",
            format!("[[modbus.identity]]\nname = \"serial_number\"\n{register}"),
        ),
        (
            "modbus.setting",
            format!("[[modbus.setting]]\nname = \"ct\"\n{register}"),
        ),
        (
            "modbus.status",
            format!(
                "[[modbus.status]]\nname = \"state\"\n{register}[[modbus.status.flag]]\nmask = 1\nmeans = \"x\"\n"
            ),
        ),
    ] {
        let message = listened(&(device("m", "line = \"bus\"") + &tables)).unwrap_err();
        let expected = format!("{key}: cannot be watched on a line with mode = \"listen\"");
        assert!(message.contains(&expected), "{message}");
        assert!(message.contains("or poll the device"), "{message}");
        assert!(message.starts_with("gateway.toml:20:1: "), "{message}");
    }
    let meter = "[[modbus]]\nname = \"m\"\nline = \"bus\"\ntemplate = \"eastron-sdm630\"\npoints = \"default\"\n";
    let message = listened(&format!("{meter}serial = \"1234567\"\n")).unwrap_err();
    assert!(
        message.contains("gateway.toml:13:10: modbus.serial: cannot be watched"),
        "{message}"
    );
    // The site asked for nothing: it is told what it does not get.
    let config = listened(meter).unwrap();
    let report = inspect::report(&config);
    assert!(
        report.contains("Warning: line 11: modbus.template: on a line with mode = \"listen\""),
        "{report}"
    );
    let said = sampling::unwatched(&config, &config.modbus[0]).unwrap();
    assert!(
        said.starts_with("NOT WATCHED") && said.contains("serial_number"),
        "{said}"
    );
    let polled = meter.replace("line = \"bus\"", "host = \"h\"");
    let config = parse(&format!("{polled}serial = \"1234567\"\n")).unwrap();
    assert_eq!(sampling::unwatched(&config, &config.modbus[0]), None);
}
