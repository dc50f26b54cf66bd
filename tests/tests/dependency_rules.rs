//! Who may know whom, which crates are banned, and under which licences the rest stands: each a
//! failing build.
//!
//! The rules are plain functions over plain data, tried here on broken examples too, so that none
//! of them passes because it looks at nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Each room with the rooms it may know, by any kind of dependency.
const ROOMS: [(&str, &[&str]); 8] = [
    ("evidence", &[]),
    ("quantification", &["evidence"]),
    ("store", &["evidence"]),
    ("gateway", &["evidence"]),
    ("collector", &["evidence", "store"]),
    ("verifier-api", &["evidence", "quantification", "store"]),
    ("verify", &["evidence", "quantification"]),
    (
        "system-tests",
        &[
            "collector",
            "evidence",
            "gateway",
            "quantification",
            "store",
            "verifier-api",
            "verify",
        ],
    ),
];

/// Crates that only these rooms may name, with the reason.
const RESERVED: [(&str, &[&str], &str); 6] = [
    (
        "sqlx",
        &["store", "gateway", "verify"],
        "SQL lives in `store`, the gateway's buffer and the witness",
    ),
    (
        "tokio-modbus",
        &["gateway", "system-tests"],
        "field buses are the gateway's business",
    ),
    (
        "rumqttc",
        &["gateway", "system-tests"],
        "field buses are the gateway's business",
    ),
    (
        "axum",
        &[
            "collector",
            "gateway",
            "verifier-api",
            "verify",
            "system-tests",
        ],
        "the pure rooms and `store` know no HTTP",
    ),
    (
        "askama",
        &["verifier-api"],
        "pages are the verifier API's business",
    ),
    (
        "winnow",
        &["quantification"],
        "formulas are parsed in one place",
    ),
];

/// Test oracles: never in a program that ships.
const DEVELOPMENT_ONLY: [&str; 7] = [
    "coset",
    "criterion",
    "ed25519-dalek",
    "minicbor",
    "proptest",
    "signed_note",
    "tlog_tiles",
];

/// What the pure rooms must not reach by any path: no I/O, no clock, no async.
const IMPURE: [&str; 7] = [
    "axum", "hyper", "mio", "reqwest", "rumqttc", "sqlx", "tokio",
];

/// Banned on every platform, whatever wants them.
const BANNED: [(&str, &str); 9] = [
    (
        "openssl",
        "TLS is rustls with ring, so that edge images cross-compile",
    ),
    (
        "openssl-sys",
        "TLS is rustls with ring, so that edge images cross-compile",
    ),
    (
        "native-tls",
        "TLS is rustls with ring, so that edge images cross-compile",
    ),
    ("aws-lc-rs", "one crypto provider: ring"),
    ("aws-lc-sys", "one crypto provider: ring"),
    ("aws-lc-fips-sys", "one crypto provider: ring"),
    ("evalexpr", "its licence is AGPL"),
    ("chrono-tz", "jiff carries the one time zone database"),
    ("rumqttd", "tests and demo use Mosquitto"),
];

/// Licences a dependency may be taken under. `.deny.toml` holds the same list.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BlueOak-1.0.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The graph as built here; other platforms' crates need not be downloaded for it.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        ])
        .exec()
        .unwrap()
}

/// A dependency as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    by: String,
    what: String,
    development: bool,
}

fn named(metadata: &Metadata) -> Vec<Named> {
    metadata
        .workspace_packages()
        .iter()
        .flat_map(|package| {
            package.dependencies.iter().map(|dependency| Named {
                by: package.name.to_string(),
                what: dependency.name.clone(),
                development: dependency.kind == DependencyKind::Development,
            })
        })
        .collect()
}

fn rooms_that_know_too_much(all: &[Named]) -> Vec<String> {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.into();
    all.iter()
        .filter(|one| rooms.contains_key(one.what.as_str()))
        .filter(|one| match rooms.get(one.by.as_str()) {
            Some(allowed) => !allowed.contains(&one.what.as_str()),
            None => true,
        })
        .map(|one| format!("`{}` must not know `{}`", one.by, one.what))
        .collect()
}

fn reserved_crates_elsewhere(all: &[Named]) -> Vec<String> {
    let mut found = Vec::new();
    for (what, rooms, reason) in RESERVED {
        for one in all.iter().filter(|one| one.what == what) {
            if !rooms.contains(&one.by.as_str()) {
                found.push(format!("`{}` names `{what}`: {reason}", one.by));
            }
        }
    }
    found
}

fn oracles_that_ship(all: &[Named]) -> Vec<String> {
    all.iter()
        .filter(|one| !one.development && DEVELOPMENT_ONLY.contains(&one.what.as_str()))
        .map(|one| format!("`{}` ships `{}`, which is a test oracle", one.by, one.what))
        .collect()
}

#[test]
fn rooms_know_only_whom_the_design_lets_them_know() {
    let metadata = metadata();
    let mut found: Vec<String> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    found.sort();
    let mut expected: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    expected.sort_unstable();
    assert_eq!(
        found, expected,
        "a room is missing from ROOMS or from the workspace"
    );
    assert_eq!(
        rooms_that_know_too_much(&named(&metadata)),
        Vec::<String>::new()
    );
}

#[test]
fn crates_reserved_to_a_room_stay_there_and_oracles_do_not_ship() {
    let all = named(&metadata());
    assert!(
        all.len() > 50,
        "the manifests were not read: {} dependencies",
        all.len()
    );
    assert_eq!(reserved_crates_elsewhere(&all), Vec::<String>::new());
    assert_eq!(oracles_that_ship(&all), Vec::<String>::new());
}

/// The lines of the offline verifier's sources that name a crate of networks, SQL or runtimes outside
/// of the modules that are there for it.
fn impure_lines(path: &Path, text: &str) -> Vec<String> {
    const ALLOWED: [&str; 6] = [
        "src/witness",
        "src/fetch",
        "src/args/witness",
        "src/args/fetch",
        // Starts the runtime for those commands alone.
        "src/main.rs",
        "src/lib.rs",
    ];
    const NAMES: [&str; 8] = [
        "axum", "hyper", "reqwest", "rustls", "sqlx", "std::net", "tokio", "tower",
    ];
    let shown = path.display().to_string();
    if ALLOWED.iter().any(|allowed| shown.starts_with(allowed)) {
        return Vec::new();
    }
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| {
            NAMES.iter().any(|name| {
                line.match_indices(name).any(|(at, _)| {
                    let before = line.get(..at).unwrap_or_default();
                    let after = line.get(at + name.len()..).unwrap_or_default();
                    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
                        && after.starts_with("::")
                })
            })
        })
        .map(|(number, line)| format!("verify/{shown}:{}: {}", number + 1, line.trim()))
        .collect()
}

#[test]
fn the_check_of_a_bundle_names_no_network_no_sql_and_no_runtime() {
    let verify = root().join("verify");
    let mut open = vec![verify.join("src")];
    let (mut found, mut read) = (Vec::new(), 0);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(impure_lines(path.strip_prefix(&verify).unwrap(), &text));
            read += 1;
        }
    }
    assert_eq!(found, Vec::<String>::new());
    assert!(read > 10, "only {read} files read");
    let broken =
        "use tokio::sync::Mutex;\n// tokio::x\nlet a = sqlx::query(\"\");\nmy_tokio::x();\n";
    assert_eq!(impure_lines(Path::new("src/print.rs"), broken).len(), 2);
    assert_eq!(
        impure_lines(Path::new("src/witness/state.rs"), broken).len(),
        0
    );
}

#[test]
fn the_rules_refuse_what_they_are_for() {
    let named = |by: &str, what: &str, development| Named {
        by: by.to_owned(),
        what: what.to_owned(),
        development,
    };
    let broken = [
        named("collector", "gateway", false),
        named("evidence", "system-tests", true),
        named("collector", "sqlx", false),
        named("evidence", "minicbor", false),
    ];
    assert_eq!(
        rooms_that_know_too_much(&broken),
        [
            "`collector` must not know `gateway`",
            "`evidence` must not know `system-tests`"
        ]
    );
    assert_eq!(reserved_crates_elsewhere(&broken).len(), 1);
    assert_eq!(
        oracles_that_ship(&broken),
        ["`evidence` ships `minicbor`, which is a test oracle"]
    );
}

#[test]
fn packages_are_named_as_their_folders_and_binaries_start_with_fieldseal() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.parent().unwrap().file_name().unwrap();
        let name = package.name.as_str();
        let expected = if folder == "tests" {
            "system-tests"
        } else {
            folder
        };
        assert_eq!(name, expected, "package in folder {folder}");
        for target in package.targets.iter().filter(|target| target.is_bin()) {
            let good = target.name.starts_with("fieldseal-")
                || (name == "system-tests" && target.name == "demo");
            assert!(good, "binary `{}` of `{name}`", target.name);
        }
    }
}

/// Returns the names of everything a package reaches by normal and build dependencies.
fn shipped_tree(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let start = metadata
        .workspace_packages()
        .into_iter()
        .find(|found| found.name.as_str() == package)
        .unwrap();
    let mut reached = BTreeSet::new();
    let mut open = vec![&start.id];
    while let Some(id) = open.pop() {
        if !reached.insert(id) {
            continue;
        }
        open.extend(
            nodes[id]
                .deps
                .iter()
                .filter(|dependency| {
                    dependency
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind != DependencyKind::Development)
                })
                .map(|dependency| &dependency.pkg),
        );
    }
    reached.into_iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn evidence_and_quantification_reach_no_network_no_sql_and_no_runtime() {
    let metadata = metadata();
    for room in ["evidence", "quantification"] {
        let tree = shipped_tree(&metadata, room);
        assert!(
            tree.contains("ring"),
            "{room}: the tree was not walked: {tree:?}"
        );
        let impure: Vec<&str> = IMPURE
            .into_iter()
            .filter(|name| tree.contains(*name))
            .collect();
        assert!(impure.is_empty(), "`{room}` reaches {impure:?}");
    }
    let gateway = shipped_tree(&metadata, "gateway");
    assert!(
        gateway.contains("tokio") && gateway.contains("sqlx"),
        "{gateway:?}"
    );
}

#[test]
fn no_banned_crate_is_locked_for_any_platform() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let names: BTreeSet<&str> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains("rustls"),
        "the lock file was not read: {} names",
        names.len()
    );
    for (banned, reason) in BANNED {
        assert!(!names.contains(banned), "`{banned}` is locked: {reason}");
    }
}

/// Says whether an SPDX expression can be met with `LICENCES` alone. `/` is the old way to write
/// OR; AND binds tighter than OR.
fn licence_is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) && rest.is_empty()
}

fn either(words: &mut &[&str]) -> bool {
    let mut met = both(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        met |= both(words);
    }
    met
}

fn both(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = either(words);
            if let [")", rest @ ..] = *words {
                *words = rest;
            }
            met
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            LICENCES.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, rest @ ..] => {
            *words = rest;
            LICENCES.contains(licence)
        }
        [] => false,
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(licence_is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "AGPL-3.0-only",
        "GPL-3.0-or-later",
        "MIT AND AGPL-3.0-only",
        "(MIT OR ISC) AND LGPL-2.1",
        "MIT ISC",
        "SSPL-1.0",
    ] {
        assert!(!licence_is_allowed(bad), "{bad}");
    }
}

#[test]
fn every_dependency_can_be_taken_under_an_allowed_licence() {
    let metadata = metadata();
    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !licence_is_allowed(package.license.as_deref().unwrap_or_default()))
        .map(|package| {
            format!(
                "{} {}: {:?}",
                package.name, package.version, package.license
            )
        })
        .collect();
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn cargo_deny_is_given_the_same_licences() {
    let deny = std::fs::read_to_string(root().join(".deny.toml")).unwrap();
    let deny: toml::Table = deny.parse().unwrap();
    let listed: Vec<&str> = deny["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|licence| licence.as_str().unwrap())
        .collect();
    assert_eq!(listed, LICENCES);
}
