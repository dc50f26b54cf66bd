//! Mistakes in a configuration are reported all at once, each with file, line, key and remedy.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use evidence::measurement::{MeasurementConfig, PointKind, Source, Table};
use evidence::value::{Kind, Order};
use gateway::config::{GatewayConfig, LineMode};
use proptest::prelude::{any, prop_assert, proptest};

const EXAMPLE: &str = include_str!("../examples/gateway.toml");

const HEAD: &str = "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/tmp/x\"\n";

/// A file with one device and one point; `point` begins in line 9.
fn with_point(point: &str) -> String {
    format!(
        "{HEAD}[[modbus]]\nname = \"m\"\nhost = \"h\"\naddress_base = \"pdu\"\n[[modbus.point]]\n{point}"
    )
}

const POINT: &str = "name = \"p\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\ndecimals = 1\nunit = \"kWh\"\nkind = \"register\"\n";

fn problems(text: &str) -> String {
    GatewayConfig::parse("gateway.toml", text)
        .unwrap_err()
        .to_string()
}

/// The message for one changed line of a correct point, which must be the only one.
fn problem_of_point(original: &str, changed: &str) -> String {
    assert!(POINT.contains(original), "{original}");
    let message = problems(&with_point(&POINT.replace(original, changed)));
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn the_example_is_complete_and_correct() {
    let config = GatewayConfig::parse("gateway.toml", EXAMPLE).unwrap();
    let table = config.measurement(|stream| u64::from(stream) * 10);
    table.validate().unwrap();
    let sealed = MeasurementConfig::decode(&table.encode()).unwrap();
    assert_eq!(sealed, table, "the table survives being sealed");
    let streams: Vec<_> = table
        .streams
        .iter()
        .map(|s| (s.id, s.tick_ms, s.first_tick, s.messages))
        .collect();
    assert_eq!(
        streams,
        [
            (1, 1_000, 10, false),
            (5, 5_000, 50, false),
            (10, 10_000, 100, false),
            (60, 60_000, 600, false),
            (10_000, 1_000, 100_000, true)
        ]
    );
    let point = |name: &str| table.point(name).unwrap().1;
    let modbus = |name: &str| match point(name).source {
        Source::Modbus {
            table,
            address,
            words,
        } => (table, address, words),
        Source::Message { .. } => panic!("{name} is polled"),
    };
    assert_eq!(modbus("co2-mass-flow"), (Table::Holding, 0, 1));
    assert_eq!(point("co2-mass-flow").format.order, Order::Badc);
    assert_eq!(modbus("co2-total"), (Table::Holding, 10, 4));
    assert_eq!(modbus("valve-open"), (Table::Discrete, 0, 1));
    assert_eq!(point("flow-alarm").format.kind, Kind::Bit(3));
    assert_eq!(point("frequency").format.order, Order::Cdab);
    assert_eq!(point("energy-export").kind, PointKind::Register);
    assert_eq!(point("energy-export").sentinels, [0xFFFF_FFFF]);
    assert_eq!(point("wellhead-pressure").stale_after_s, Some(60));
    let factor = table.point("inverter-power-factor").unwrap().0;
    assert_eq!(point("inverter-power").scale_from, Some(factor));
    let mode = point("inverter-mode");
    assert_eq!((mode.format.kind, mode.unit.as_str()), (Kind::Text, "1"));
    assert_eq!(modbus("inverter-mode"), (Table::Holding, 60, 8));
    let inverter = config
        .modbus
        .iter()
        .find(|device| device.name == "inverter")
        .unwrap();
    let together: Vec<(&str, Option<&str>)> = inverter
        .points
        .iter()
        .map(|point| (point.name.as_str(), point.together.as_deref()))
        .collect();
    let co2 = Some("co2-vented");
    assert!(together.contains(&("co2-vented-tonnes", co2)));
    assert!(together.contains(&("co2-vented-kilograms", co2)));
    let bus = config
        .modbus
        .iter()
        .find(|device| device.name == "steam-meter");
    let bus = &config.lines[bus.unwrap().line];
    assert_eq!(
        (bus.name.as_str(), bus.mode),
        ("controller-bus", LineMode::Listen)
    );
    let proxy = &config.proxies[0];
    let units: Vec<u8> = proxy.units.iter().map(|unit| unit.unit_id).collect();
    assert_eq!((proxy.listen.port(), units), (1_502, vec![1, 2, 103]));
    assert!(proxy.allow[1].contains("192.168.20.7".parse().unwrap()));
}

#[test]
fn every_key_of_the_example_is_refused_when_misspelt() {
    for (number, line) in EXAMPLE.lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        if key.starts_with('#') {
            continue;
        }
        let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
        lines[number] = line.replacen(key, &format!("{key}x"), 1);
        let text = lines.join("\n");
        let message = problems(&text);
        let expected = format!("gateway.toml:{}:1: ", number + 1);
        assert!(message.contains(&expected), "{key}: {message}");
        assert!(
            message.contains(&format!("did you mean `{key}`?")),
            "{key}: {message}"
        );
    }
}

#[test]
fn all_mistakes_of_a_file_come_in_one_message_in_the_order_of_the_lines() {
    let text = format!(
        "{HEAD}segmnt_s = 60\n\n[[modbus]]\nname = \"a\"\nhost = \"h\"\naddress_base = \"4X\"\n\n\
         [[modbus.point]]\nname = \"p\"\naddress = 40001\ntype = \"u17\"\ndecimals = 1\nunit = \"kwh\"\n\
         kind = \"register\"\nscale = 0.1\n"
    );
    let message = problems(&text);
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(
        lines,
        [
            "gateway.toml:4:1: gateway.segmnt_s: unknown key; allowed in [gateway]: data_dir, origin, \
         segment_s, sync_interval_s; did you mean `segment_s`?",
            "gateway.toml:9:16: modbus.address_base: `4X` is not an address base; allowed: pdu, 4x; did you mean `4x`?",
            lines[2],
            lines[3],
            "gateway.toml:18:9: modbus.point.scale: a float is not exact; write the digits as a text: scale = \"0.1\"",
        ]
    );
    assert!(lines[2].starts_with(
        "gateway.toml:14:8: modbus.point.type: `u17` is not a type; allowed: u16, i16, "
    ));
    assert!(lines[2].ends_with("did you mean `u16`?"), "{}", lines[2]);
    assert!(
        lines[3]
            .starts_with("gateway.toml:16:8: modbus.point.unit: `kwh` is not a unit; allowed: ")
    );
    assert!(lines[3].ends_with("did you mean `kWh`?"), "{}", lines[3]);
}

#[test]
fn a_point_alone_is_judged() {
    GatewayConfig::parse("gateway.toml", &with_point(POINT)).unwrap();
    assert_eq!(
        problem_of_point("decimals = 1\n", "decimals = 1\nscale = \"0.001\"\n"),
        "gateway.toml:14:9: modbus.point.scale: 0.001 needs 3 decimals, but the point has decimals = 1; \
         set decimals = 3 or more"
    );
    assert_eq!(
        problem_of_point("type = \"u16\"\n", "type = \"u16\"\norder = \"CDAB\"\n"),
        "gateway.toml:13:9: modbus.point.order: `CDAB` does not fit type u16, which is one register: allowed: AB, BA"
    );
    assert_eq!(
        problem_of_point("address = 0", "address = \"40001\""),
        "gateway.toml:11:11: modbus.point.address: `40001` is a text, but the device has address_base = \"pdu\": \
         write the number that is sent, counted from 0, or set address_base = \"4x\""
    );
    assert_eq!(
        problem_of_point("address = 0", "address = 70000"),
        "gateway.toml:11:11: modbus.point.address: address 70000 is outside 0 to 65535"
    );
    assert_eq!(
        problem_of_point("type = \"u16\"", "type = \"f32\"\nscale = \"2\""),
        "gateway.toml:13:9: modbus.point.scale: type f32 takes no scale or offset; declare the unit that the device sends"
    );
    assert_eq!(
        problem_of_point(
            "address = 0\ntype = \"u16\"",
            "address = 65535\ntype = \"u32\""
        ),
        "gateway.toml:11:11: modbus.point.address: address 65535 with 2 registers ends beyond 65535"
    );
    assert_eq!(
        problem_of_point("table = \"holding\"", "table = \"coil\""),
        "gateway.toml:12:8: modbus.point.type: a coil is one bit: write type = \"bit\""
    );
    assert_eq!(
        problem_of_point("decimals = 1\n", "decimals = 1\ninterval_s = 7\n"),
        "gateway.toml:14:14: modbus.point.interval_s: 7 does not divide an hour; the nearest that do are 6 and 8"
    );
    assert_eq!(
        problem_of_point("decimals = 1\n", "decimals = 1\nsentinels = [0x10000]\n"),
        "gateway.toml:14:14: modbus.point.sentinels: 65536 does not fit type u16"
    );
    assert_eq!(
        problem_of_point(
            "decimals = 1\n",
            "decimals = 1\nmin = \"5\"\nmax = \"4.9\"\n"
        ),
        "gateway.toml:15:7: modbus.point.max: max 4.9 is below min 5"
    );
    assert_eq!(
        problem_of_point("unit = \"kWh\"\n", ""),
        "gateway.toml:8:1: modbus.point.unit: missing; write a unit symbol, e.g. unit = \"kWh\""
    );
    assert_eq!(
        problem_of_point("decimals = 1", "decimals = \"1\""),
        "gateway.toml:13:12: modbus.point.decimals: expected a whole number, found a text"
    );
}

#[test]
fn names_are_unique_and_the_first_use_is_shown() {
    let text = with_point(&format!("{POINT}[[modbus.point]]\n{POINT}"));
    assert_eq!(
        problems(&text),
        "gateway.toml:17:8: modbus.point.name: `p` is already the name of the point in line 9; names are unique"
    );
    let twice = format!(
        "{0}\n{1}",
        with_point(POINT),
        with_point(POINT)
            .replace(HEAD, "")
            .replace("\"p\"", "\"q\"")
            .replace("host = \"h\"", "host = \"i\"")
    );
    assert_eq!(
        problems(&twice),
        "gateway.toml:18:8: modbus.name: `m` is already the name of the device in line 5; names are unique"
    );
}

#[test]
fn a_sentinel_of_a_manual_becomes_the_column_value_it_shows_up_as() {
    for (kind, written, expected) in [
        ("i16", "0x8000", -32_768),
        ("i16", "-32768", -32_768),
        ("u16", "0xFFFF", 65_535),
        ("i32", "0x7FFFFFFF", 2_147_483_647),
        ("u64", "0xFFFFFFFFFFFFFFFF", -1),
    ] {
        let point = POINT.replace("u16", kind);
        let text = with_point(&format!("{point}sentinels = [{written}]\n"));
        let config = GatewayConfig::parse("gateway.toml", &text).unwrap();
        assert_eq!(
            config.modbus[0].points[0].sentinels,
            [expected],
            "{kind} {written}"
        );
    }
}

#[test]
fn the_rest_of_the_file_is_judged_too() {
    let broker = "[[mqtt]]\nname = \"b\"\nhost = \"h\"\n[[mqtt.point]]\nname = \"t\"\ntopic = \"a/b\"\n\
                  decimals = 1\nunit = \"K\"\nkind = \"instant\"\nstale_after_s = 60\n";
    let file = format!("{HEAD}{broker}");
    GatewayConfig::parse("gateway.toml", &file).unwrap();
    for (from, to, expected) in [
        (
            "stale_after_s = 60\n",
            "",
            "gateway.toml:7:1: mqtt.point.stale_after_s: missing; write how many seconds a value holds when no new one comes",
        ),
        (
            "a/b",
            "a/#/b",
            "gateway.toml:9:9: mqtt.point.topic: no valid topic: at most 200 bytes; + and # stand alone between slashes, # at the end",
        ),
        (
            "host = \"h\"\n",
            "host = \"h\"\npassword_file = \"p\"\n",
            "gateway.toml:4:1: mqtt.user: missing; a password needs a user name",
        ),
        (
            "unit = \"K\"\n",
            "unit = \"K\"\npointer = \"a\"\n",
            "gateway.toml:12:11: mqtt.point.pointer: must begin with a slash: a JSON pointer names the way to the value, e.g. \"/sensors/0/flow\"; leave the key out when the message is the number",
        ),
        (
            "data_dir = \"/tmp/x\"\n",
            "data_dir = \"/tmp/x\"\nsegment_s = 17\n",
            "gateway.toml:4:13: gateway.segment_s: 17 does not divide an hour; allowed: 10, 12, 15, 16, 18, 20, 24, 25, 30, 36, 40, 45, 48, 50, 60, 72, 75, 80, 90, 100, 120, 144, 150, 180, 200, 225, 240, 300",
        ),
        (
            "example.com/gw/1",
            "a b",
            "gateway.toml:2:10: gateway.origin: ",
        ),
        (
            "[[mqtt]]",
            "[collector]\nurl = \"http://c\"\n[[mqtt]]",
            "gateway.toml:5:7: collector.url: must begin with https://: readings never travel in the clear",
        ),
        (
            "[[mqtt]]",
            "[buffer]\npolicy = \"drop\"\n[[mqtt]]",
            "gateway.toml:5:10: buffer.policy: `drop` is not a policy; allowed: stop, drop_oldest",
        ),
        (
            "[[mqtt]]",
            "[mqtt]",
            "gateway.toml:4:1: mqtt: expected tables [[mqtt]], found a table",
        ),
    ] {
        let message = problems(&file.replacen(from, to, 1));
        assert!(
            message.starts_with(expected),
            "{message}\nexpected\n{expected}"
        );
    }
    for (host, expected) in [
        (
            "10.0.0.1:502",
            "only the name or address: write the port as port = …",
        ),
        (
            "tcp://10.0.0.1",
            "only the name or address: leave out the scheme and the path",
        ),
        ("a b", "a host name has no spaces"),
    ] {
        let message = problems(&file.replace("host = \"h\"", &format!("host = \"{host}\"")));
        assert_eq!(message, format!("gateway.toml:6:8: mqtt.host: {expected}"));
    }
    let ipv6 = file.replace("host = \"h\"", "host = \"fd00::1\"");
    GatewayConfig::parse("gateway.toml", &ipv6).unwrap();
    assert!(problems(HEAD).contains("add at least one [[modbus]] or [[mqtt]] table"));
    assert!(problems("").contains("begin with [gateway]"));
    let overlapping = format!(
        "{file}[[mqtt.point]]\nname = \"u\"\ntopic = \"a/+\"\ndecimals = 1\nunit = \"K\"\nkind = \"instant\"\nstale_after_s = 60\n"
    );
    assert!(
        problems(&overlapping)
            .contains("gateway.toml:16:9: mqtt.point.topic: overlaps with `a/b` in line 9")
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_line() {
    let message = problems("[gateway]\norigin = \"x\ndata_dir = \"/tmp\"\n");
    assert!(message.starts_with("gateway.toml:2:"), "{message}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]\"=a-z_.0-9\n{},# -]{0,120}") {
        let _judged = GatewayConfig::parse("f", &text);
    }

    /// One byte of the example replaced: judged without a panic, and never accepted with a problem.
    #[test]
    fn a_damaged_example_never_makes_it_panic(place in 0..EXAMPLE.len(), byte in any::<u8>()) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(config) = GatewayConfig::parse("f", &text)
        {
            prop_assert!(config.measurement(|_| 0).validate().is_ok());
        }
    }
}

/// The points of a file with one device, or all its mistakes.
fn device(points: &[&str]) -> Result<GatewayConfig, String> {
    let mut text = format!(
        "{HEAD}[[modbus]]\nname = \"m\"\nhost = \"h\"\naddress_base = \"pdu\"\norder = \"word-swap\"\n"
    );
    for point in points {
        text.push_str("[[modbus.point]]\ntable = \"holding\"\n");
        text.push_str(point);
    }
    GatewayConfig::parse("gateway.toml", &text).map_err(|problems| problems.to_string())
}

#[test]
fn texts_bit_fields_and_float_sentinels_come_out_as_they_are_sealed() {
    let config = device(&[
        "name = \"serial\"\naddress = \"0x100\"\ntype = \"text\"\nwords = 8\ninterval_s = 3600\n",
        "name = \"mode\"\naddress = 2\ntype = \"bits4-7\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n",
        "name = \"power\"\naddress = 4\ntype = \"f32\"\ndecimals = 3\nunit = \"kW\"\nkind = \"instant\"\nsentinels = [\"nan\", \"-9999\", 0x7F800000]\n",
    ])
    .unwrap();
    let table = config.measurement(|_| 0);
    table.validate().unwrap();
    let [serial, mode, power] = table.points.as_slice() else {
        panic!("three points");
    };
    assert_eq!(
        serial.source,
        Source::Modbus {
            table: Table::Holding,
            address: 256,
            words: 8
        }
    );
    assert_eq!(
        (serial.format.kind, serial.format.order),
        (Kind::Text, Order::Abcd),
        "the order of words is none of a text's"
    );
    assert_eq!((serial.decimals, serial.unit.as_str()), (0, "1"));
    assert_eq!(mode.format.kind, Kind::Bits { low: 4, high: 7 });
    assert_eq!(power.format.order, Order::Cdab, "the device's order");
    assert_eq!(
        power.sentinels,
        [0x7FC0_0000, i64::from((-9999_f32).to_bits()), 0x7F80_0000]
    );
}

#[test]
fn what_a_text_or_a_type_cannot_have_is_refused() {
    for (point, expected) in [
        (
            "address = 0\ntype = \"text\"\n",
            "modbus.point.words: missing; write how many registers the text has",
        ),
        (
            "address = 0\ntype = \"text\"\nwords = 8\nkind = \"register\"\n",
            "modbus.point.kind: a text is never a number: leave this key out",
        ),
        (
            "address = 0\ntype = \"text\"\nwords = 8\nsentinels = [0]\n",
            "modbus.point.sentinels: a text has no sentinels",
        ),
        (
            "address = 0\ntype = \"text\"\nwords = 8\norder = \"CDAB\"\n",
            "modbus.point.order: `CDAB` does not fit type text, which has an order of bytes in each register only: allowed: AB, BA",
        ),
        (
            "address = 65530\ntype = \"text\"\nwords = 8\n",
            "modbus.point.address: address 65530 with 8 registers ends beyond 65535",
        ),
        (
            "address = 0\ntype = \"uint32\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n",
            "did you mean `u32`?",
        ),
        (
            "address = 0\ntype = \"bits7-4\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n",
            "a bit field names its lowest bit first, both from 0 to 15",
        ),
        (
            "address = 0\ntype = \"u32\"\nwords = 1\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n",
            "modbus.point.words: type u32 has 2 of them, not 1: leave the key out",
        ),
        (
            "address = 0\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\nsentinels = [\"nan\"]\n",
            "modbus.point.sentinels: `nan` does not fit type u16: write a whole number without quotes",
        ),
        (
            "address = 0\ntype = \"f32\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\nsentinels = [\"none\"]\n",
            "modbus.point.sentinels: `none` is no value of type f32: write \"nan\"",
        ),
    ] {
        let message = device(&[&format!("name = \"p\"\n{point}")]).unwrap_err();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(
            message.contains(expected),
            "{message}\nexpected\n{expected}"
        );
    }
}

const VALUE: &str = "name = \"w\"\naddress = 83\ntype = \"i16\"\ndecimals = 1\nunit = \"W\"\nkind = \"instant\"\nscale_from = \"w-sf\"\n";
const FACTOR: &str = "name = \"w-sf\"\naddress = 84\ntype = \"i16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n";

#[test]
fn a_scale_factor_is_a_point_of_its_own_named_by_its_values() {
    let config = device(&[VALUE, FACTOR]).unwrap();
    let table = config.measurement(|_| 0);
    table.validate().unwrap();
    assert_eq!(table.points[0].scale_from, Some(1));
    assert_eq!(table.points[1].scale_from, None);
    assert_eq!(
        gateway::config::read_together(&config.modbus[0].points),
        [0, 0]
    );
    let refused = |value: &str, factor: &str, expected: &str| {
        let message = device(&[value, factor]).unwrap_err();
        assert!(
            message.starts_with("gateway.toml:") && message.contains(expected),
            "{message}\nexpected\n{expected}"
        );
    };
    let value = |from: &str, to: &str| VALUE.replacen(from, to, 1);
    let factor = |from: &str, to: &str| FACTOR.replacen(from, to, 1);
    refused(
        &value("w-sf", "w_sf"),
        FACTOR,
        "17:14: modbus.point.scale_from: this device has no point `w_sf`: add it, with type = \"i16\"; did you mean `w-sf`?",
    );
    refused(VALUE, &factor("i16", "u16"), "`w-sf` is no scale factor");
    refused(
        VALUE,
        &factor("decimals = 0", "decimals = 1"),
        "`w-sf` is no scale factor",
    );
    refused(
        VALUE,
        &format!("{FACTOR}interval_s = 10\n"),
        "`w-sf` has another interval_s",
    );
    refused(
        VALUE,
        &format!("{FACTOR}scale_from = \"w\"\n"),
        "`w-sf` has a scale factor itself",
    );
    refused(
        &format!("{VALUE}scale = \"0.1\"\n"),
        FACTOR,
        "modbus.point.scale: the device's scale factor is all that is applied",
    );
    refused(
        &value("i16", "f32"),
        FACTOR,
        "modbus.point.scale_from: only whole numbers (u16 to i64) have a scale factor, not f32",
    );
    refused(
        VALUE,
        &factor("address = 84", "address = 208"),
        "modbus.point.scale_from: w, w-sf lie 126 registers apart, and the device has max_registers = 125",
    );
}

#[test]
fn points_with_one_label_lie_in_one_request() {
    let part = |name: &str, rest: &str| {
        format!(
            "name = \"{name}\"\ntype = \"f32\"\ndecimals = 3\nunit = \"t\"\nkind = \"register\"\ntogether = \"totaliser-1\"\n{rest}"
        )
    };
    let (sum, other) = (
        part("sum", "address = 0\n"),
        part("overflow", "address = 40\n"),
    );
    let config = device(&[&sum, FACTOR, &other]).unwrap();
    assert_eq!(
        gateway::config::read_together(&config.modbus[0].points),
        [0, 1, 0]
    );
    let barred = format!("{other}[[modbus.barrier]]\ntable = \"holding\"\nfrom = 20\nto = 20\n");
    let message = device(&[&sum, &barred]).unwrap_err();
    assert!(
        message.contains("sum, overflow are read in one request, but the barrier holding 20 to 20 lies between them"),
        "{message}"
    );
    let slow = part("overflow", "address = 40\ninterval_s = 10\n");
    let message = device(&[&sum, &slow]).unwrap_err();
    assert!(
        message.contains("modbus.point.together: sum, overflow are read in one request, so they have one interval_s"),
        "{message}"
    );
}

#[test]
fn mistakes_of_a_proxy_are_told_with_what_was_meant() {
    let meter = "[[modbus]]\nname = \"sdm\"\nhost = \"h\"\nunit_id = 7\naddress_base = \"pdu\"\n\
         [[modbus.point]]\nname = \"p\"\ntable = \"input\"\naddress = 0\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n";
    let lines = |proxies: &str| -> Vec<String> {
        let message = problems(&format!("{HEAD}{meter}{proxies}"));
        message.lines().map(str::to_owned).collect()
    };
    for (proxy, expected) in [
        ("devices = [\"sdn\"]", "did you mean `sdm`?"),
        ("", "proxy.devices: missing; write what clients may read"),
        (
            "devices = [\"sdm\"]\nlisten = \"1502\"",
            "write 127.0.0.1:1502 for this machine only",
        ),
        (
            "devices = [\"sdm\"]\nlisten = \"0.0.0.0:1502\"",
            "proxy.allow: missing; nobody outside this machine",
        ),
        (
            "devices = [\"sdm\"]\nallow = [\"10.0.0.1/8\"]",
            "write 10.0.0.0/8 for the whole network",
        ),
        (
            "devices = [\"sdm\"]\n[[proxy.unit]]\nunit_id = 7\ndevice = \"sdm\"",
            "unit id 7 is offered twice",
        ),
        (
            "devices = [\"sdm\"]\nmax_agems = 5",
            "did you mean `max_age_ms`?",
        ),
    ] {
        let found = lines(&format!("[[proxy]]\n{proxy}\n"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{proxy}: {found:?}"
        );
    }
    let twice = "[[proxy]]\ndevices = [\"sdm\"]\n".repeat(2);
    assert!(lines(&twice)[0].contains("127.0.0.1:1502 is taken by the proxy in line"));
}
