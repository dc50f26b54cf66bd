//! Names each cell in which two reports differ.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::Report;

/// One cell that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellDifference {
    /// The cell, e.g. `parameters/Q[W-1]/intervals/2026-Q1/value`.
    pub path: String,
    /// What the claimed report says; `absent` when the cell is not there.
    pub claimed: String,
    /// What was computed again.
    pub recomputed: String,
}

/// The fields that name a row of a list, tried in order.
const NAMES: [&[&str]; 6] = [
    &["interval", "name"],
    &["name"],
    &["interval"],
    &["year"],
    &["origin"],
    &["code", "subject"],
];

pub(super) fn differences(claimed: &Report, recomputed: &Report) -> Vec<CellDifference> {
    let value = |report| serde_json::to_value(report).expect("a report always serialises");
    let mut found = Vec::new();
    compare(
        "",
        Some(&value(claimed)),
        Some(&value(recomputed)),
        &mut found,
    );
    found
}

fn compare<'a>(
    path: &str,
    claimed: Option<&'a Value>,
    recomputed: Option<&'a Value>,
    found: &mut Vec<CellDifference>,
) {
    match (claimed, recomputed) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in a {
                compare(&join(path, key), Some(value), b.get(key), found);
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                compare(&join(path, key), None, Some(value), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            let (left, right) = names(a, b);
            let by_name = |names: &[String], rows: &'a [Value]| -> HashMap<String, &'a Value> {
                names.iter().cloned().zip(rows).collect()
            };
            let (lefts, rights) = (by_name(&left, a), by_name(&right, b));
            for (name, row) in left.iter().zip(a) {
                compare(
                    &join(path, name),
                    Some(row),
                    rights.get(name).copied(),
                    found,
                );
            }
            for (name, row) in right
                .iter()
                .zip(b)
                .filter(|(name, _)| !lefts.contains_key(*name))
            {
                compare(&join(path, name), None, Some(row), found);
            }
        }
        _ => found.push(CellDifference {
            path: path.to_owned(),
            claimed: text(claimed),
            recomputed: text(recomputed),
        }),
    }
}

fn join(path: &str, part: &str) -> String {
    if path.is_empty() {
        part.to_owned()
    } else {
        format!("{path}/{part}")
    }
}

/// The names of the rows of two lists; positions where names are not unique.
fn names(a: &[Value], b: &[Value]) -> (Vec<String>, Vec<String>) {
    let by = |name: fn(usize, &Value) -> String| {
        let list = |rows: &[Value]| {
            rows.iter()
                .enumerate()
                .map(|(i, row)| name(i, row))
                .collect::<Vec<_>>()
        };
        (list(a), list(b))
    };
    let unique = |names: &[String]| names.iter().collect::<HashSet<_>>().len() == names.len();
    let (left, right) = by(row_name);
    if unique(&left) && unique(&right) {
        (left, right)
    } else {
        by(|position, _| position.to_string())
    }
}

fn row_name(position: usize, row: &Value) -> String {
    let field = |name: &str| match row.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    NAMES
        .iter()
        .find_map(|names| {
            names
                .iter()
                .map(|name| field(name))
                .collect::<Option<Vec<_>>>()
        })
        .map_or_else(|| position.to_string(), |parts| parts.join("/"))
}

fn text(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
