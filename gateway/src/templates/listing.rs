//! The list of templates and the register table of one, as a person reads them.

use std::fmt::Write as _;

use evidence::measurement::PointKind;
use serde::Serialize;

use crate::columns::{Side, TERMINAL, align, paragraph};
use crate::config::{Register, Template, modicon_text};

/// One template in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The device in words.
    pub title: String,
    /// How many quantities it has; of models, all of them.
    pub points: usize,
    /// Why its registers are not confirmed; absent when they are.
    pub unverified: Option<String>,
    /// How many of its registers are in doubt by themselves.
    pub doubtful: usize,
    /// The maker's document.
    pub document: String,
    /// Its edition.
    pub edition: String,
}

/// One register in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `point`, `identity`, `setting` or `status`.
    pub role: &'static str,
    /// Its name.
    pub name: String,
    /// The table.
    pub table: &'static str,
    /// The address as it is sent; of a model, counted from the model's id.
    pub pdu: u16,
    /// The address as printed in many manuals; absent for a model, which stands elsewhere in every device.
    pub modicon: Option<String>,
    /// The type and, for several registers, the order.
    pub layout: String,
    /// The unit.
    pub unit: &'static str,
    /// `register` or `instant`; absent for what is no point.
    pub kind: Option<&'static str>,
    /// Whether a new configuration begins with it.
    pub default: bool,
    /// In words.
    pub description: Option<String>,
    /// Why it is in doubt.
    pub unverified: Option<String>,
}

/// Every template that comes with the program.
#[must_use]
pub fn entries() -> Vec<Entry> {
    super::all().iter().map(entry).collect()
}

fn entry(template: &Template) -> Entry {
    let rows = rows(template);
    Entry {
        name: template.name.clone(),
        title: template.title.clone(),
        points: rows.iter().filter(|row| row.role == "point").count(),
        unverified: template.unverified.clone(),
        doubtful: rows.iter().filter(|row| row.unverified.is_some()).count(),
        document: template.document.clone(),
        edition: template.edition.clone(),
    }
}

/// The list, a line for each.
#[must_use]
pub fn list(entries: &[Entry]) -> String {
    let mut rows = vec![
        ["NAME", "POINTS", "REGISTERS", "DEVICE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for entry in entries {
        let verdict = match (&entry.unverified, entry.doubtful) {
            (Some(_), _) => "unverified".to_owned(),
            (None, 0) => "confirmed".to_owned(),
            (None, some) => format!("{some} in doubt"),
        };
        rows.push(vec![
            entry.name.clone(),
            entry.points.to_string(),
            verdict,
            entry.title.clone(),
        ]);
    }
    let sides = [Side::Left, Side::Right, Side::Left, Side::Left];
    let mut text = String::new();
    for line in align(&rows, &sides) {
        text.push_str(&shortened(&line, TERMINAL));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&paragraph(
        "config template NAME prints a ready configuration, --show NAME the registers and where they \
         are from. Unverified: not compared with the maker's own document; --show says why.",
        0,
    ));
    text
}

fn shortened(line: &str, most: usize) -> String {
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let kept: String = line.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Every register of a template.
#[must_use]
pub fn rows(template: &Template) -> Vec<Row> {
    let mut rows: Vec<Row> = template
        .points
        .iter()
        .map(|point| of_point(point, None))
        .collect();
    rows.extend(
        template
            .identity
            .iter()
            .map(|found| row("identity", found, None)),
    );
    rows.extend(
        template
            .settings
            .iter()
            .map(|found| row("setting", found, None)),
    );
    rows.extend(
        template
            .status
            .iter()
            .map(|word| row("status", &word.register, None)),
    );
    for layout in &template.models {
        let model = layout
            .ids
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join("/");
        let model = Some(model.as_str());
        rows.extend(layout.points.iter().map(|point| of_point(point, model)));
        rows.extend(
            layout
                .identity
                .iter()
                .map(|found| row("identity", found, model)),
        );
        rows.extend(
            layout
                .settings
                .iter()
                .map(|found| row("setting", found, model)),
        );
    }
    rows
}

fn of_point(point: &crate::config::TemplatePoint, model: Option<&str>) -> Row {
    Row {
        kind: Some(match point.kind {
            PointKind::Register => "register",
            PointKind::Instant => "instant",
        }),
        default: point.default,
        ..row("point", &point.register, model)
    }
}

fn row(role: &'static str, register: &Register, model: Option<&str>) -> Row {
    let spec = &register.spec;
    let kind = spec.format.kind.name();
    Row {
        role,
        name: model.map_or_else(
            || spec.name.clone(),
            |model| format!("{model}.{}", spec.name),
        ),
        table: spec.table.name(),
        pdu: spec.address,
        modicon: model
            .is_none()
            .then(|| modicon_text(spec.table, spec.address)),
        layout: match spec.words {
            1 => kind,
            _ if spec.format.words() == 0 => format!("{kind} {}", 2 * spec.words),
            _ => format!("{kind} {}", spec.format.order.name()),
        },
        unit: spec.unit,
        kind: None,
        default: false,
        description: register.description.clone(),
        unverified: register.unverified.clone(),
    }
}

/// The register table with what is known about its source.
#[must_use]
pub fn show(template: &Template) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_show(&mut text, template);
    text
}

fn write_show(out: &mut String, template: &Template) -> std::fmt::Result {
    out.push_str(&paragraph(
        &format!("{}: {}", template.name, template.title),
        0,
    ));
    let hash = template.sha256.to_hex();
    let limits = limits(template);
    for (what, said) in [
        ("document", template.document.as_str()),
        ("edition", &template.edition),
        ("source", &template.source),
        ("SHA-256", &hash),
        ("ex works", &ex_works(template)),
        ("requests", &limits),
        (
            "UNVERIFIED",
            template.unverified.as_deref().unwrap_or_default(),
        ),
    ] {
        if !said.is_empty() {
            // The label stands where the paragraph is indented.
            let said = paragraph(said, 14);
            writeln!(out, "  {what:<12}{}", said.trim())?;
        }
    }
    writeln!(out)?;
    let rows = rows(template);
    let head = ["NAME", "PDU", "4x", "TYPE", "UNIT", ""]
        .map(str::to_owned)
        .to_vec();
    let mut cells = vec![head];
    for row in &rows {
        let role = match row.role {
            "identity" => "id",
            "setting" => "set",
            "status" => "status",
            _ if row.default => "*",
            _ => "",
        };
        let doubt = if row.unverified.is_some() { "?" } else { "" };
        let mark = format!("{role}{doubt}");
        cells.push(vec![
            row.name.clone(),
            row.pdu.to_string(),
            row.modicon.clone().unwrap_or_default(),
            row.layout.clone(),
            row.unit.to_owned(),
            mark,
        ]);
    }
    let (left, right) = (Side::Left, Side::Right);
    for line in align(&cells, &[left, right, right, left, left, left]) {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "\n4x holding, 3x input, 1x discrete, 0x coil. * in a new configuration,\n\
         id identity, set setting, status status word, ? in doubt."
    )?;
    if !template.models.is_empty() {
        out.push_str(&paragraph(
            "Addresses count from the model's id. Where the models stand is found with \
             config template sunspec --host HOST or --port PORT.",
            0,
        ));
    }
    for row in rows.iter().filter(|row| row.unverified.is_some()) {
        let why = row.unverified.as_deref().unwrap_or_default();
        out.push_str(&paragraph(&format!("? {}: {why}", row.name), 0));
    }
    Ok(())
}

fn ex_works(template: &Template) -> String {
    let line = template.line.map(|line| {
        let assumed = if line.assumed { " (assumed)" } else { "" };
        format!("{line}{assumed}")
    });
    let tcp = template.tcp_port.map(|port| format!("TCP port {port}"));
    let unit = Some(format!("unit {}", template.default_unit_id));
    let said: Vec<String> = [line, tcp, unit].into_iter().flatten().collect();
    said.join(", ")
}

fn limits(template: &Template) -> String {
    let limits = &template.limits;
    let most = |what: &str, number: Option<u16>| number.map(|n| format!("at most {n} {what}"));
    let ms = |what: &str, time: Option<std::time::Duration>| {
        time.map(|time| format!("{what} {} ms", time.as_millis()))
    };
    let said = [
        most("registers", limits.max_registers),
        most("bits", limits.max_bits),
        most("undeclared registers in between", limits.max_gap),
        ms("a pause of", limits.pause),
        ms("an answer within", limits.timeout),
        ms("after connecting", limits.connect_delay),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
