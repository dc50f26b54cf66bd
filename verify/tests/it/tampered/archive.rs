use evidence::bundle::Bundle;

use super::{Bench, Files};

/// The archive's files as (header, contents with padding).
fn members(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    let mut at = 0;
    while bytes[at] != 0 {
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[at + 124..at + 135]).unwrap(), 8)
                .unwrap();
        let end = at + 512 + size.div_ceil(512) * 512;
        members.push(bytes[at..end].to_vec());
        at = end;
    }
    members
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.extend([0; 1024]);
    bytes
}

fn renamed(member: &[u8], name: &str) -> Vec<u8> {
    let mut member = member.to_vec();
    member[..100].fill(0);
    member[..name.len()].copy_from_slice(name.as_bytes());
    member[148..156].fill(b' ');
    let sum: u32 = member[..512].iter().map(|byte| u32::from(*byte)).sum();
    member[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    member
}

#[test]
fn an_archive_with_tricks_is_refused_and_one_with_something_missing_is_incomplete() {
    let bench = Bench::new();
    let good = members(&bench.spec.write());
    assert_eq!(archive(&good), bench.spec.write());
    let check = |what: &str, exit: u8, members: &[Vec<u8>]| {
        let outcome = bench.files.check(&archive(members));
        assert_eq!(
            (outcome.exit, outcome.codes()[0]),
            (exit, "V01"),
            "{what}: {}",
            outcome.failure()
        );
    };
    let with = |at: usize, member: Vec<u8>| {
        let mut members = good.clone();
        members[at] = member;
        members
    };
    check(
        "a path upwards",
        2,
        &with(1, renamed(&good[1], "../plan.toml")),
    );
    check(
        "an absolute path",
        2,
        &with(1, renamed(&good[1], "/plan.toml")),
    );
    check("a stranger", 2, &with(1, renamed(&good[1], "plan.yaml")));
    check(
        "twice",
        2,
        &[good[..2].to_vec(), good[1..].to_vec()].concat(),
    );
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    check("out of order", 2, &swapped);
    for missing in 0..8 {
        if missing == 2 {
            continue; // the report, which need not be there
        }
        let mut members = good.clone();
        members.remove(missing);
        check("a file missing", 3, &members);
    }
    check("no payloads", 3, &good[..good.len() - 1]);
    check("no log", 3, &good[..3]);
    let mut link = good[1].clone();
    link[156] = b'2';
    check("a link", 2, &with(1, renamed(&link, "plan.toml")));
    let mut bytes = archive(&good);
    bytes.push(0);
    let outcome = bench.files.check(&bytes);
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V01"),
        "a byte behind the end"
    );
    let outcome = bench.files.check(&[]);
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V01"),
        "an empty file"
    );
}

#[test]
fn ordinary_tar_lists_and_unpacks_a_bundle() {
    let bench = Bench::new();
    bench.files.write("bundle.tar", &bench.spec.write());
    let output = std::process::Command::new("tar")
        .arg("tvf")
        .arg(bench.files.path("bundle.tar"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listing = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listing.lines().count(), members(&bench.spec.write()).len());
    assert!(listing.contains("payload.bin"));
}

#[test]
fn mistakes_in_the_verifier_s_own_files_are_named_and_have_exit_code_6() {
    let bench = Bench::new();
    let bundle = bench.spec.write();
    assert!(Bundle::read(&bundle).is_ok());
    let with = |arguments: &[&str]| {
        let mut files = Files::new(&bench.site);
        files
            .extra
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        files
    };
    let wrong = |files: &Files, hint: &str| {
        let outcome = files.rust(&bundle);
        assert_eq!(outcome.exit, 6, "{hint}");
        assert!(outcome.text.contains(hint), "{hint}: {}", outcome.text);
    };
    wrong(
        &with(&["--anchor", "example.com/gw/0001+00000000+AAAA"]),
        "--anchor",
    );
    let other = crate::support::Gateway::new("example.com/gw/0001", 99, 0)
        .vkey()
        .to_string();
    wrong(&with(&["--anchor", &other]), "your plan names another key");
    wrong(&with(&["--collector", "W7"]), "W7");
    wrong(&with(&["--approver", "xyz"]), "--approver");
    let files = with(&[]);
    files.write("ours.policy", b"quorum W9\n");
    wrong(&files, "ours.policy");
    let files = with(&[]);
    let other = crate::support::Gateway::new("example.com/gw/0005", 98, 0).vkey();
    files.write(
        "ours.policy",
        format!("log {other}\nquorum none\n").as_bytes(),
    );
    wrong(&files, "add the line: log example.com/gw/0001");
    let files = with(&[]);
    files.write("plan.toml", b"state = \"demo\"\nmethodologie = \"x\"\n");
    wrong(&files, "plan.toml");
    let mut files = with(&[]);
    files.extra.clear();
    let mut spec = bench.spec.clone();
    spec.report = None;
    let outcome = files.rust(&spec.write());
    assert_eq!(outcome.exit, 6);
    assert!(outcome.text.contains("--from"), "{}", outcome.text);
    let good = bench.site.gateways[0].vkey().to_string();
    assert_eq!(with(&["--anchor", &good]).check(&bundle).exit, 0);
}
