//! The claim, and what is there for people only.

use crate::tamper::Hand::Nothing;
use crate::tamper::{Expected, Good, Mutation};

const CLASS: &str = "The report and what is for people";

const fn harmless(
    name: &'static str,
    why: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation {
        class: CLASS,
        name,
        hand: Nothing,
        expected: Expected::Harmless(why),
        make,
    }
}

pub(super) static MATRIX: [Mutation; 8] = [
    Mutation::refused(
        CLASS,
        "a figure one unit higher in its last digit",
        Nothing,
        "V21",
        |good| {
            report(good, |text| {
                let from = text.find("\"parameters\"")?;
                let at = from + text.get(from..)?.find("\"value\": \"")? + 10;
                let end = at + text.get(at..)?.find('"')?;
                let digit = text.get(end - 1..end)?.parse::<u8>().ok()?;
                text.replace_range(end - 1..end, &((digit + 1) % 10).to_string());
                Some(())
            })
        },
    ),
    Mutation::refused(CLASS, "no JSON", Nothing, "V22", |good| {
        report(good, |text| {
            "4.2 t".clone_into(text);
            Some(())
        })
    }),
    Mutation::refused(CLASS, "an empty report", Nothing, "V22", |good| {
        report(good, |text| {
            text.clear();
            Some(())
        })
    }),
    Mutation::refused(CLASS, "JSON that is no report", Nothing, "V22", |good| {
        report(good, |text| {
            "{}\n".clone_into(text);
            Some(())
        })
    }),
    Mutation::refused(
        CLASS,
        "the same report in another writing",
        Nothing,
        "V22",
        |good| {
            report(good, |text| {
                text.push('\n');
                Some(())
            })
        },
    ),
    harmless(
        "no report",
        "nothing is claimed, and the figures are recomputed",
        |good| {
            let mut draft = good.draft();
            draft
                .members
                .retain(|file| file.path != "report/report.json");
            Some(draft.write())
        },
    ),
    harmless(
        "another plan.toml",
        "the verifier's own plan decides, and the verdict says that they differ",
        |good| {
            let mut draft = good.draft();
            draft.top("plan.toml")?.extend(b"\n# more\n");
            Some(draft.write())
        },
    ),
    harmless(
        "another README.txt",
        "it is for people and decides nothing",
        |good| {
            let mut draft = good.draft();
            *draft.top("README.txt")? = b"Trust me.\n".to_vec();
            Some(draft.write())
        },
    ),
];

fn report(good: &Good, change: fn(&mut String) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let bytes = draft.top("report/report.json")?;
    let mut text = String::from_utf8(bytes.clone()).ok()?;
    change(&mut text)?;
    *bytes = text.into_bytes();
    Some(draft.write())
}
