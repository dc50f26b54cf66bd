//! `template = "…"` in gateway.toml: what is taken from a template, what stays with the site, and
//! which mistakes are told.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use evidence::measurement::{MeasurementConfig, PointKind, Source, Table};
use gateway::config::{GatewayConfig, SerialNames, Template};
use gateway::inspect;
use gateway::templates::{self, Place, SerialPlace, Wishes, starter};

const HEAD: &str = "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/tmp/x\"\n\
    [[modbus]]\nname = \"sdm\"\nhost = \"h\"\ntemplate = \"eastron-sdm630\"\n";

const POINT: &str = "[[modbus.point]]\nname = \"energy\"\nfrom = \"total_import_active_energy\"\ninterval_s = 10\nmax = \"1000\"\n";

fn parse(text: &str) -> GatewayConfig {
    GatewayConfig::parse("gateway.toml", text).unwrap()
}

/// The only message about a text.
fn problem(text: &str) -> String {
    let message = GatewayConfig::parse("gateway.toml", text)
        .unwrap_err()
        .to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn a_point_takes_its_register_from_the_template_and_the_rest_from_the_site() {
    let config = parse(&format!("{HEAD}{POINT}"));
    let table = config.measurement(|_| 0);
    table.validate().unwrap();
    let point = table.point("energy").unwrap().1;
    let source = Source::Modbus {
        table: Table::Input,
        address: 72,
        words: 2,
    };
    assert_eq!((&point.source, point.kind), (&source, PointKind::Register));
    assert_eq!(
        (point.decimals, point.unit.as_str(), point.stream),
        (2, "kWh", 10)
    );
    assert_eq!(point.max.unwrap().to_string(), "1000");
    let most = templates::find("eastron-sdm630")
        .unwrap()
        .limits
        .max_registers;
    assert_eq!(
        Some(config.modbus[0].max_registers),
        most,
        "the template's limit"
    );
}

#[test]
fn what_the_template_states_cannot_be_changed_in_the_configuration() {
    for fact in [
        "address = 4",
        "table = \"input\"",
        "type = \"u16\"",
        "order = \"CDAB\"",
        "scale = \"2\"",
        "offset = \"1\"",
        "decimals = 1",
        "unit = \"kWh\"",
        "kind = \"instant\"",
        "sentinels = [0]",
    ] {
        let key = fact.split(' ').next().unwrap();
        let message = problem(&format!("{HEAD}{POINT}{fact}\n"));
        assert!(
            message.contains(&format!("modbus.point.{key}: comes from the template"))
                && message.contains("template = \"my-meter.toml\""),
            "{message}"
        );
    }
}

#[test]
fn a_site_may_be_stricter_than_the_template_and_not_laxer() {
    let stricter = parse(&format!("{HEAD}max_registers = 20\n{POINT}"));
    assert_eq!(stricter.modbus[0].max_registers, 20);
    let message = problem(&format!("{HEAD}max_registers = 125\n{POINT}"));
    assert!(
        message.contains("modbus.max_registers: template `eastron-sdm630` says at most "),
        "{message}"
    );
}

#[test]
fn names_that_nobody_knows_come_with_what_was_meant() {
    let message = problem(
        &HEAD
            .replace("sdm630", "sdm360")
            .replace("h\"", "h\"\npoints = \"default\""),
    );
    assert!(
        message.contains("modbus.template: `eastron-sdm360` is not a template of this program"),
        "{message}"
    );
    assert!(
        message.contains("did you mean `eastron-sdm630`?"),
        "{message}"
    );
    let message = problem(&format!(
        "{HEAD}{}",
        POINT.replace("_active_energy", "_activ_energy")
    ));
    assert!(
        message.contains("modbus.point.from: ")
            && message.contains("did you mean `total_import_active_energy`?"),
        "{message}"
    );
    let alone =
        format!("{HEAD}{POINT}").replace("template = \"eastron-sdm630\"", "address_base = \"pdu\"");
    let message = problem(&alone);
    assert!(
        message.contains("names a point of a template, but the device has none"),
        "{message}"
    );
}

#[test]
fn the_default_points_are_named_after_the_device() {
    let config = parse(&format!(
        "{HEAD}points = \"default\"\ninterval_s = 5\n{POINT}"
    ));
    let names: Vec<&str> = config.modbus[0]
        .points
        .iter()
        .map(|point| point.name.as_str())
        .collect();
    assert!(
        names.contains(&"sdm-total-active-power") && names.contains(&"energy"),
        "{names:?}"
    );
    let template = templates::find("eastron-sdm630").unwrap();
    let defaults = template.points.iter().filter(|point| point.default).count();
    assert_eq!(names.len(), defaults + 1);
    assert_eq!(config.modbus[0].points[0].interval_s, Some(5));
}

#[test]
fn a_register_that_the_template_lacks_may_be_read_besides() {
    let own = "[[modbus.point]]\nname = \"own\"\ntable = \"holding\"\naddress = 5\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n";
    let config = parse(&format!("{HEAD}{POINT}{own}"));
    assert_eq!(config.modbus[0].points[1].from, None);
}

const OWN: &str = "[template]\nname = \"own\"\ntitle = \"Own meter\"\ndocument = \"D\"\nedition = \"E\"\nsource = \"S\"\n\
    verification = \"confirmed\"\naddress_base = \"4x\"\ndefault_unit_id = 7\n[template.line]\nbaud = 19200\nparity = \"even\"\nstop_bits = 1\n\
    [template.limits]\npause_ms = 60\nmax_gap = 0\ntimeout_ms = 1500\n\
    [[point]]\nname = \"total\"\naddress = 40001\ntype = \"u32\"\ndecimals = 0\nunit = \"kWh\"\nkind = \"register\"\ndefault = true\n\
    [[point]]\nname = \"power\"\naddress = 40005\ntype = \"u16\"\ndecimals = 0\nunit = \"kW\"\nkind = \"instant\"\nunverified = \"told by telephone\"\n\
    [[barrier]]\ntable = \"holding\"\nfrom = 2\nto = 3\n";

fn put(path: &std::path::Path, text: &str) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A folder with the site's own template and a configuration that uses it.
fn own(device: &str, template: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/tmp/x\"\n[[line]]\nname = \"bus\"\nserial = \"/dev/ttyAMA0\"\npause_ms = 60\n\
         [[modbus]]\nname = \"m\"\nline = \"bus\"\ntemplate = \"meters/own.toml\"\n{device}"
    );
    std::fs::create_dir(dir.path().join("meters")).unwrap();
    for (name, text) in [
        ("gateway.toml", text.as_str()),
        ("meters/own.toml", template),
    ] {
        put(&dir.path().join(name), text);
    }
    let path = dir.path().join("gateway.toml");
    (dir, path)
}

const BOTH: &str = "[[modbus.point]]\nname = \"a\"\nfrom = \"total\"\n[[modbus.point]]\nname = \"b\"\nfrom = \"power\"\n";

#[test]
fn a_template_of_the_sites_own_lies_beside_the_configuration() {
    let (_dir, path) = own(BOTH, OWN);
    let config = GatewayConfig::load(&path).unwrap();
    let device = &config.modbus[0];
    assert_eq!(
        (device.unit_id, device.timeout.as_millis(), device.max_gap),
        (7, 1_500, 0)
    );
    let template = Template::parse("own.toml", OWN).unwrap();
    assert_eq!(device.template.as_deref(), Some(&template));
    let sealed = config.measurement(|_| 0).devices[0].template.clone();
    assert_eq!(
        sealed,
        Some(("own (unverified)".to_owned(), template.sha256)),
        "one of its points is in doubt"
    );
    let warnings: Vec<String> = config
        .warnings
        .iter()
        .map(|warning| warning.text.clone())
        .collect();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("`power` of `own` is unverified: told by telephone")),
        "{warnings:?}"
    );
}

#[test]
fn what_nobody_has_confirmed_is_sealed_as_such_and_check_says_why() {
    let doubt = "verification = \"unverified\"\nunverified_why = \"the manual is out of reach\"";
    let text = OWN.replace("verification = \"confirmed\"", doubt);
    let (_dir, path) = own("points = \"default\"\n", &text);
    let config = GatewayConfig::load(&path).unwrap();
    let sealed = MeasurementConfig::decode(&config.measurement(|_| 0).encode()).unwrap();
    let expected = (
        "own (unverified)".to_owned(),
        evidence::hash::sha256(text.as_bytes()),
    );
    assert_eq!(sealed.devices[0].template, Some(expected));
    let said = inspect::report(&config);
    assert!(
        said.contains("unverified: the manual is out of reach"),
        "{said}"
    );
    assert!(said.contains("template own: Own meter, SHA-256 "), "{said}");
    assert!(said.contains("(from total, unverified)"), "{said}");
    // Without a doubt about what is read there is no such word.
    let (_dir, path) = own("points = \"default\"\n", OWN);
    let config = GatewayConfig::load(&path).unwrap();
    assert_eq!(
        config.measurement(|_| 0).devices[0]
            .template
            .as_ref()
            .unwrap()
            .0,
        "own"
    );
    assert_eq!(config.warnings, []);
}

#[test]
fn a_device_is_not_read_across_its_barriers() {
    let (_dir, path) = own(BOTH, &OWN.replace("max_gap = 0", "max_gap = 10"));
    let said = inspect::report(&GatewayConfig::load(&path).unwrap());
    assert!(said.contains("2 points every 1 s in 2 requests"), "{said}");
    let (_dir, path) = own(
        BOTH,
        &OWN.replace("from = 2\nto = 3", "from = 9\nto = 9")
            .replace("max_gap = 0", "max_gap = 10"),
    );
    let said = inspect::report(&GatewayConfig::load(&path).unwrap());
    assert!(said.contains("2 points every 1 s in 1 requests"), "{said}");
    let (_dir, path) = own(BOTH, &OWN.replace("to = 3", "to = 4"));
    let message = GatewayConfig::load(&path).unwrap_err().to_string();
    assert!(
        message.contains("point `b` lies in the barrier holding 2 to 4"),
        "{message}"
    );
}

#[test]
fn a_mistake_in_an_own_template_is_told_with_its_own_line() {
    let (_dir, path) = own(BOTH, &OWN.replace("unit = \"kWh\"", "unit = \"kwh\""));
    let message = GatewayConfig::load(&path).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(
        message.contains("meters/own.toml:23:8: point.unit: `kwh` is not a unit"),
        "{message}"
    );
    let (_dir, path) = own(BOTH, OWN);
    std::fs::remove_file(path.parent().unwrap().join("meters/own.toml")).unwrap();
    let message = GatewayConfig::load(&path).unwrap_err().to_string();
    assert!(
        message.contains("modbus.template: cannot read `"),
        "{message}"
    );
}

#[test]
fn a_line_leaves_the_device_the_pause_it_needs() {
    let (_dir, path) = own(BOTH, &OWN.replace("pause_ms = 60", "pause_ms = 100"));
    let message = GatewayConfig::load(&path).unwrap_err().to_string();
    assert!(
        message.contains(
            "wants 100 ms between requests: write pause_ms = 100 in the [[line]] table of `bus`"
        ),
        "{message}"
    );
}

#[test]
fn a_connection_leaves_the_device_the_time_after_connecting_that_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("own.toml");
    let slow = OWN.replace("pause_ms = 60", "connect_delay_ms = 80");
    put(&template, &slow);
    let device = |name: &str, place: &str| {
        let points = BOTH.replace("name = \"", &format!("name = \"{name}-"));
        format!(
            "[[modbus]]\nname = \"{name}\"\n{place}\ntemplate = \"{}\"\n{points}",
            template.display()
        )
    };
    let head = "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/tmp/x\"\n";
    let delay = |text: &str| parse(text).lines[0].connect_delay.as_millis();
    // The device's own connection gets it; the site may give more, and the slowest unit decides.
    let own = format!("{head}{}", device("m", "host = \"h\""));
    assert_eq!(delay(&own), 80);
    let more = own.replace("host = \"h\"", "host = \"h\"\nconnect_delay_ms = 100");
    assert_eq!(delay(&more), 100);
    let second = device("n", "host = \"h\"\nunit_id = 8\nconnect_delay_ms = 90");
    assert_eq!(delay(&format!("{own}{second}")), 90);
    // A line with a table says it there.
    let line = "[[line]]\nname = \"bus\"\nhost = \"h\"\nprotocol = \"rtu_over_tcp\"\n";
    let shared = format!("{head}{line}{}", device("m", "line = \"bus\""));
    let message = problem(&shared);
    assert!(
        message.contains(
            "wants 80 ms after connecting: write connect_delay_ms = 80 in the [[line]] table of `bus`"
        ),
        "{message}"
    );
    let enough = shared.replace("over_tcp\"\n", "over_tcp\"\nconnect_delay_ms = 80\n");
    assert_eq!(delay(&enough), 80);
    // A serial port is not connected to.
    let serial = shared.replace(
        "host = \"h\"\nprotocol = \"rtu_over_tcp\"",
        "serial = \"/dev/ttyAMA0\"",
    );
    assert_eq!(delay(&serial), 0);
}

/// Whether a line fits a terminal; what cannot be broken, a long address, does not count.
fn fits(line: &str) -> bool {
    line.chars().count() <= 80 || line.split(' ').any(|word| word.chars().count() > 50)
}

fn no_ports() -> SerialNames {
    SerialNames::in_dir("/nowhere")
}

#[test]
fn every_printed_configuration_passes_check_once_the_origin_is_set() {
    let places = [
        Place::Unknown,
        Place::Serial(SerialPlace {
            path: "/dev/ttyAMA0".to_owned(),
            ..SerialPlace::default()
        }),
        Place::Network {
            host: "192.168.1.30".to_owned(),
            port: 1_502,
        },
    ];
    for template in templates::all()
        .iter()
        .filter(|template| template.models.is_empty())
    {
        for place in &places {
            let wishes = Wishes {
                place: place.clone(),
                ..Wishes::default()
            };
            let text = starter(&template.name, template, &wishes, &no_ports());
            assert!(
                text.lines().all(|line| fits(line) || line.contains(" = ")),
                "{text}"
            );
            let unset = GatewayConfig::parse("gateway.toml", &text)
                .unwrap_err()
                .to_string();
            assert!(
                unset.contains("gateway.origin") && unset.lines().count() == 1,
                "{unset}\n{text}"
            );
            let text = text.replace("origin = \"\"", "origin = \"example.com/gw/1\"");
            let config = GatewayConfig::parse("gateway.toml", &text).unwrap();
            let defaults = template.points.iter().filter(|point| point.default).count();
            assert_eq!(config.modbus[0].points.len(), defaults, "{text}");
            assert_eq!(config.modbus[0].unit_id, template.default_unit_id);
            let doubt = "unverified";
            assert!(
                config
                    .warnings
                    .iter()
                    .all(|warning| warning.text.contains(doubt)),
                "{:?}",
                config.warnings
            );
        }
    }
}

#[test]
fn serial_settings_that_no_maker_stated_are_printed_as_something_to_try() {
    let print = |name: &str, baud, parity, stop_bits| {
        let template = templates::find(name).unwrap();
        let place = Place::Serial(SerialPlace {
            path: "/dev/ttyAMA0".to_owned(),
            baud,
            parity,
            stop_bits,
        });
        let wishes = Wishes {
            place,
            ..Wishes::default()
        };
        starter(name, &template, &wishes, &no_ports())
    };
    let untold = "# To be tried first: the maker's document does not state them. `scan` finds\n\
        # others.\nbaud = 9600\nparity = \"none\"\nstop_bits = 1\n";
    // One whose template calls them assumed, one whose template has no line at all.
    for name in ["abb-b2x", "siemens-pac3200"] {
        let text = print(name, None, None, None);
        assert!(text.contains(untold), "{text}");
        // What was given, or found by a scan, is nothing to try.
        let text = print(name, Some(19_200), Some("even"), Some(1));
        assert!(!text.contains("To be tried first"), "{text}");
    }
    let text = print("janitza-umg604", None, None, None);
    assert!(
        text.contains("The speed is to be tried")
            && text.contains("baud = 9600\nparity = \"none\"\nstop_bits = 2\n"),
        "{text}"
    );
    // A speed that nobody stated is no reason to begin with the serial line.
    let template = templates::find("janitza-umg604").unwrap();
    let text = starter(&template.name, &template, &Wishes::default(), &no_ports());
    assert!(
        !text.contains("[[line]]") && text.contains("port = 502"),
        "{text}"
    );
    let text = print("eastron-sdm630", None, None, None);
    assert!(text.contains("# As it leaves the factory;"), "{text}");
}

#[test]
fn the_only_port_there_is_is_filled_in_and_of_several_none() {
    use std::os::unix::fs::symlink;
    let template = templates::find("eastron-sdm630").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    std::fs::create_dir_all(root.join("serial/by-id")).unwrap();
    std::fs::create_dir_all(root.join("serial/by-path")).unwrap();
    let plug = |device: &str, id: &str| {
        drop(std::fs::File::create(root.join(device)).unwrap());
        for folder in ["by-id", "by-path"] {
            symlink(root.join(device), root.join("serial").join(folder).join(id)).unwrap();
        }
    };
    let names = SerialNames::in_dir(&root);
    let print = || starter("eastron-sdm630", &template, &Wishes::default(), &names);
    assert!(print().contains("serial = \"/dev/serial/by-id/CHANGE-ME\""));
    plug("ttyUSB0", "usb-FTDI_A-port0");
    let one = print();
    assert!(
        one.contains("/serial/by-id/usb-FTDI_A-port0\"\n") && !one.contains("CHANGE-ME"),
        "{one}"
    );
    assert!(
        one.contains("baud = 9600\nparity = \"none\"\nstop_bits = 1\n"),
        "{one}"
    );
    plug("ttyUSB1", "usb-FTDI_B-port0");
    let two = print();
    assert!(
        two.contains("CHANGE-ME") && two.contains("#   serial = ") && two.contains("usb-FTDI_B"),
        "{two}"
    );
}

#[test]
fn the_list_and_the_register_table_fit_a_terminal_and_state_both_addresses() {
    let list = templates::listing::list(&templates::listing::entries());
    assert!(
        list.lines().all(|line| line.chars().count() <= 80),
        "{list}"
    );
    for template in templates::all() {
        assert!(list.contains(&template.name), "{list}");
        let shown = templates::listing::show(&template);
        let wide: Vec<&str> = shown.lines().filter(|line| !fits(line)).collect();
        assert!(wide.is_empty(), "{}: {wide:?}", template.name);
        assert!(shown.contains(&template.sha256.to_hex()), "{shown}");
        if let Some(why) = &template.unverified {
            let first = why.split(' ').next().unwrap();
            assert!(
                shown.contains("UNVERIFIED") && shown.contains(first),
                "{shown}"
            );
        }
    }
    let shown = templates::listing::show(&templates::find("eastron-sdm630").unwrap());
    let row = shown
        .lines()
        .find(|line| line.contains("total_import_active_energy"))
        .unwrap();
    for part in [" 72 ", "3x00073", "f32 ABCD", "kWh", "*"] {
        assert!(row.contains(part), "{part}: {row}");
    }
}

const SUNSPEC: &str = "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/tmp/x\"\n\
    [[modbus]]\nname = \"inverter\"\nhost = \"h\"\ntemplate = \"sunspec\"\n";

const MODEL: &str = "[[modbus.model]]\nid = 103\naddress = 40070\nlength = 50\n";

const POWER: &str = "[[modbus.point]]\nname = \"power\"\nfrom = \"103.W\"\n\
    [[modbus.point]]\nname = \"power-factor-of-ten\"\nfrom = \"103.W_SF\"\n";

#[test]
fn a_point_of_a_model_is_sealed_at_its_address_in_this_device_with_its_scale_factor() {
    let config = parse(&format!("{SUNSPEC}{MODEL}{POWER}"));
    let table = config.measurement(|_| 0);
    table.validate().unwrap();
    let (_, power) = table.point("power").unwrap();
    let (factor, _) = table.point("power-factor-of-ten").unwrap();
    let source = Source::Modbus {
        table: Table::Holding,
        address: 40_084,
        words: 1,
    };
    assert_eq!((&power.source, power.scale_from), (&source, Some(factor)));
    assert_eq!(table.devices[0].template.as_ref().unwrap().0, "sunspec");
}

#[test]
fn a_model_that_is_not_placed_or_too_short_and_a_missing_scale_factor_are_told() {
    let message = problem(&format!(
        "{SUNSPEC}{}",
        POWER
            .split("[[modbus.point]]")
            .take(2)
            .collect::<Vec<_>>()
            .join("[[modbus.point]]")
    ));
    assert!(
        message.contains("config template sunspec --host"),
        "{message}"
    );
    let alone = POWER
        .split("[[modbus.point]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[modbus.point]]");
    let message = problem(&format!("{SUNSPEC}{MODEL}{alone}"));
    assert!(
        message.contains(
            "`103.W` is multiplied by the scale factor `103.W_SF`: add a [[modbus.point]]"
        ),
        "{message}"
    );
    let short = MODEL.replace("length = 50", "length = 12");
    let message = GatewayConfig::parse("gateway.toml", &format!("{SUNSPEC}{short}{POWER}"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`103.W` is not a point of template `sunspec`"),
        "{message}"
    );
    let message = problem(&format!("{SUNSPEC}{MODEL}{MODEL}{POWER}"));
    assert!(
        message.contains(
            "model `103` is there twice: give one of them a name of its own, name = \"103b\""
        ),
        "{message}"
    );
    let message = problem(
        &format!("{SUNSPEC}{MODEL}{POWER}")
            .replace("template = \"sunspec\"", "template = \"eastron-sdm630\"")
            .replace(POWER, POINT),
    );
    assert!(
        message.contains("template `eastron-sdm630` has no models"),
        "{message}"
    );
    let message = GatewayConfig::parse(
        "gateway.toml",
        &format!("{SUNSPEC}{}{POWER}", MODEL.replace("103", "160")),
    )
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("`160` is not a model of template `sunspec`"),
        "{message}"
    );
}

#[test]
fn two_models_of_one_id_have_names_of_their_own() {
    let second = MODEL
        .replace("id = 103", "name = \"103b\"\nid = 103")
        .replace("40070", "40200");
    let other = POWER
        .replace("\"power", "\"second")
        .replace("103.", "103b.");
    let config = parse(&format!("{SUNSPEC}{MODEL}{second}{POWER}{other}"));
    let table = config.measurement(|_| 0);
    let address = |name: &str| match table.point(name).unwrap().1.source {
        Source::Modbus { address, .. } => address,
        Source::Message { .. } => 0,
    };
    assert_eq!((address("power"), address("second")), (40_084, 40_214));
}
