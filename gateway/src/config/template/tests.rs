use super::Template;
use crate::config::DeviceWatch;
use evidence::measurement::Table;
use evidence::quality::Quality;
use evidence::value::Order;
use proptest::prelude::{prop_assert, proptest};

const SMALL: &str = "[template]\nname = \"t\"\ntitle = \"T\"\ndocument = \"D\"\nedition = \"E\"\nsource = \"S\"\n\
    verification = \"confirmed\"\naddress_base = \"pdu\"\ntable = \"input\"\norder = \"CDAB\"\ntcp_port = 502\n\
    [[point]]\nname = \"p\"\naddress = 4\ntype = \"u32\"\nscale = \"0.1\"\ndecimals = 1\nunit = \"kWh\"\nkind = \"register\"\n\
    [[identity]]\nname = \"serial\"\ntable = \"holding\"\naddress = 100\ntype = \"u32\"\n\
    [[status]]\nname = \"state\"\naddress = 9\ntype = \"u16\"\n[[status.flag]]\nmask = 0x10\nmeans = \"broken\"\nquality = \"device_fault\"\n\
    [[barrier]]\ntable = \"input\"\nfrom = 20\nto = 29\n";

fn problems(text: &str) -> String {
    Template::parse("t.toml", text).unwrap_err().to_string()
}

/// The only message after one change.
fn problem(original: &str, changed: &str) -> String {
    assert!(SMALL.contains(original), "{original}");
    let message = problems(&SMALL.replacen(original, changed, 1));
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn registers_take_table_and_order_from_the_head_and_may_state_their_own() {
    let template = Template::parse("t.toml", SMALL).unwrap();
    let point = &template.point("p").unwrap().register.spec;
    assert_eq!(
        (point.table, point.address, point.words),
        (Table::Input, 4, 2)
    );
    assert_eq!(point.format.order, Order::Cdab);
    let serial = &template.identity[0].spec;
    assert_eq!((serial.table, serial.words), (Table::Holding, 2));
    assert_eq!(template.status[0].flags[0].mask, 0x10);
    assert_eq!(
        (template.barriers[0].from, template.barriers[0].to),
        (20, 29)
    );
    assert_eq!(
        template.sha256,
        evidence::hash::sha256(SMALL.as_bytes()),
        "what is sealed is the hash of the file as it is"
    );
}

#[test]
fn a_status_flag_is_all_that_a_configuration_can_say_of_one() {
    let all = SMALL.replacen(
        "mask = 0x10\nmeans = \"broken\"\nquality = \"device_fault\"",
        "mask = 0x3\nequals = 2\nmeans = \"warming up\"\nquality = \"settling\"",
        1,
    );
    let template = Template::parse("t.toml", &all).unwrap();
    let flag = &template.status[0].flags[0];
    assert_eq!(
        (flag.equals, flag.quality),
        (Some(2), Some(Quality::SETTLING))
    );
    assert!(flag.is_raised(0x6) && !flag.is_raised(0x7));
    let watched = DeviceWatch::of_template(&template, &[]);
    assert_eq!(watched.statuses[0].flags, template.status[0].flags);
}

#[test]
fn every_mistake_comes_with_file_line_key_and_remedy() {
    for (original, changed, expected) in [
        (
            "title = \"T\"\n",
            "",
            "t.toml:1:1: template.title: missing; write maker and type",
        ),
        (
            "\"confirmed\"",
            "\"sure\"",
            "template.verification: `sure` is not a verification; allowed: confirmed, unverified",
        ),
        (
            "\"confirmed\"",
            "\"unverified\"",
            "template.unverified_why: missing; say what could not be confirmed and why",
        ),
        (
            "\"confirmed\"",
            "\"confirmed\"\nunverified_why = \"x\"",
            "belongs to verification = \"unverified\" only",
        ),
        (
            "tcp_port = 502\n",
            "",
            "template.line: missing; add [template.line]",
        ),
        (
            "kind = \"register\"\n",
            "",
            "t.toml:12:1: point.kind: missing; write \"register\" for a totaliser",
        ),
        (
            "unit = \"kWh\"\n",
            "",
            "point.unit: missing; write a unit symbol",
        ),
        (
            "table = \"input\"\norder",
            "order",
            "write one of coil, discrete, input, holding",
        ),
        (
            "decimals = 1",
            "decimals = 0",
            "point.scale: 0.1 needs 1 decimals",
        ),
        (
            "mask = 0x10",
            "mask = 0",
            "status.flag.mask: 0 is outside 1 to",
        ),
        (
            "mask = 0x10",
            "mask = 0x10000",
            "status.flag.mask: 0x10000 has bits that the register, of 16 bits, does not have",
        ),
        (
            "address = 9\ntype = \"u16\"",
            "address = 9\ntype = \"f32\"",
            "status.type: `state` is of type f32; a status word is a number of bits",
        ),
        (
            "to = 29",
            "to = 19",
            "barrier.to: the last register, 19, is below the first, 20",
        ),
        (
            "[[barrier]]",
            "[[barier]]",
            "barier: unknown key; allowed at the top of the file: barrier, ",
        ),
    ] {
        let message = problems(&SMALL.replacen(original, changed, 1));
        assert!(
            SMALL.contains(original) && message.contains(expected),
            "{original}: {message}"
        );
    }
}

#[test]
fn what_a_site_decides_is_no_key_of_a_template() {
    for key in ["interval_s = 1", "min = 0", "max = 1", "max_step_per_s = 1"] {
        let message = problem(
            "kind = \"register\"",
            &format!("kind = \"register\"\n{key}"),
        );
        assert!(message.contains("unknown key"), "{message}");
    }
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let second = SMALL
        .split("[[point]]")
        .nth(1)
        .unwrap()
        .split("[[identity]]")
        .next()
        .unwrap();
    let message = problems(&format!("{SMALL}[[point]]{second}"));
    assert!(
        message.contains("point.name: `p` is there twice"),
        "{message}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(from in 0_usize..600, length in 0_usize..40, put in "[ -~\\n]{0,12}") {
        let text = SMALL;
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        let changed = format!("{}{put}{}", text.get(..from).unwrap(), text.get(to..).unwrap());
        let read = Template::parse("t.toml", &changed);
        prop_assert!(read.is_ok() || !read.unwrap_err().list.is_empty());
    }
}
