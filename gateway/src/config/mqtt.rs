//! `[[mqtt]]`: values that a broker hands on.

use std::path::PathBuf;
use std::time::Duration;

use evidence::decimal::Decimal;
use evidence::measurement::Source;
use toml::Spanned;

use super::point::{self, PointConfig};
use super::reader::Section;
use super::rules::PointRules;
use super::{Names, PATHS};

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttBroker {
    /// The name, unique in the file.
    pub name: String,
    /// Host name or address; with TLS the name in the broker's certificate.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The client id the broker keeps our session under; `None` = made from origin and name.
    pub client_id: Option<String>,
    /// TLS, when the file has `[mqtt.tls]`.
    pub tls: Option<MqttTls>,
    /// User name.
    pub user: Option<String>,
    /// File that holds the password, and nothing else.
    pub password_file: Option<PathBuf>,
    /// Time between pings on a quiet connection.
    pub keep_alive: Duration,
    /// What stands between the instrument and the gateway.
    pub path: &'static str,
    /// The points, in the order of the file.
    pub points: Vec<PointConfig>,
}

/// TLS towards a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttTls {
    /// PEM certificates to trust; `None` = the public web's.
    pub ca_file: Option<PathBuf>,
    /// PEM certificate chain and key that identify the gateway.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Reads one `[[mqtt]]` table.
pub(super) fn broker(section: &Section<'_, '_>, names: &mut Names) -> Option<MqttBroker> {
    let name = point::name(section);
    if let Some(name) = &name {
        names.device(section, name);
    }
    let host = point::host(
        section,
        "write the broker's address, e.g. host = \"192.168.1.5\"",
    );
    let tls = section.section("tls").map(|below| tls(&below));
    let standard_port = if tls.is_some() { 8883 } else { 1883 };
    let path = |key| {
        section
            .text(key)
            .map(|path| PathBuf::from(path.into_inner()))
    };
    let mut broker = MqttBroker {
        name: String::new(),
        host: String::new(),
        port: section.number_or("port", 1..=65_535, standard_port),
        client_id: client_id(section),
        tls,
        user: section.text("user").map(Spanned::into_inner),
        password_file: path("password_file"),
        keep_alive: Duration::from_secs(section.number_or("keep_alive_s", 5..=3_600, 30)),
        path: section
            .choice("path", "a path", &PATHS)
            .map_or("broker", Spanned::into_inner),
        points: Vec::new(),
    };
    if broker.password_file.is_some() && broker.user.is_none() {
        section.missing("user", "a password needs a user name");
    }
    let points = section.sections("point");
    if points.is_empty() {
        section.missing(
            "point",
            "add a [[mqtt.point]] table for each quantity to receive",
        );
    }
    let mut patterns = Patterns::default();
    for below in points {
        broker
            .points
            .extend(message_point(&below, names, &mut patterns));
    }
    section.finish();
    (broker.name, broker.host) = (name?.into_inner(), host?.into_inner());
    Some(broker)
}

fn client_id(section: &Section<'_, '_>) -> Option<String> {
    let id = section.text("client_id")?;
    // MQTT 3.1.1 lets every broker accept 23 bytes; today's accept far more.
    if id.get_ref().len() > 128 || id.get_ref().chars().any(char::is_control) {
        section.report(
            &id.span(),
            "client_id",
            "at most 128 bytes and no control characters",
        );
    }
    Some(id.into_inner())
}

fn tls(section: &Section<'_, '_>) -> MqttTls {
    let path = |key| {
        section
            .text(key)
            .map(|path| PathBuf::from(path.into_inner()))
    };
    let (ca_file, cert, key) = (path("ca_file"), path("cert_file"), path("key_file"));
    match (&cert, &key) {
        (Some(_), None) => section.missing("key_file", "the key that belongs to cert_file"),
        (None, Some(_)) => section.missing("cert_file", "the certificate that belongs to key_file"),
        _ => {}
    }
    section.finish();
    MqttTls {
        ca_file,
        client: cert.zip(key),
    }
}

/// Topics seen so far in one broker, to refuse patterns that could hand a message to a point twice.
#[derive(Default)]
struct Patterns(Vec<(String, usize)>);

impl Patterns {
    fn check(&mut self, section: &Section<'_, '_>, topic: &Spanned<String>) {
        let text = topic.get_ref();
        let (line, _) = section.reader.position(topic.span().start);
        if let Some((other, at)) = self
            .0
            .iter()
            .find(|(other, _)| other != text && overlaps(other, text))
        {
            let message = format!(
                "overlaps with `{other}` in line {at}: a broker may deliver one message twice; \
                 keep the topics apart"
            );
            section.report(&topic.span(), "topic", message);
        }
        self.0.push((text.clone(), line));
    }
}

/// Whether some topic matches both filters.
fn overlaps(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('/'), right.split('/'));
    loop {
        match (left.next(), right.next()) {
            // `a/#` also matches `a`.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

fn message_point(
    section: &Section<'_, '_>,
    names: &mut Names,
    patterns: &mut Patterns,
) -> Option<PointConfig> {
    let name = point::name(section);
    if let Some(name) = &name {
        names.point(section, name.get_ref(), &name.span());
    }
    let (decimals, unit) = (point::decimals(section), point::unit(section));
    let plausible = point::plausible(section, decimals);
    let topic = section.required_text(
        "topic",
        "write the topic to subscribe, e.g. topic = \"site/flow\"",
    );
    if let Some(topic) = &topic {
        if topic.get_ref().len() > 200 || !rumqttc::valid_filter(topic.get_ref()) {
            let text = "no valid topic: at most 200 bytes; + and # stand alone between slashes, # at the end";
            section.report(&topic.span(), "topic", text);
        } else {
            patterns.check(section, topic);
        }
    }
    let pointer = section.text("pointer");
    if let Some(pointer) = &pointer
        && let Err(text) = json_pointer(pointer.get_ref())
    {
        section.report(&pointer.span(), "pointer", text);
    }
    let stale: Option<u32> = section.number("stale_after_s", 1..=86_400);
    if !section.has("stale_after_s") {
        section.missing(
            "stale_after_s",
            "write how many seconds a value holds when no new one comes",
        );
    }
    if let Some(plausible) = &plausible
        && plausible.rules != PointRules::default()
    {
        let text = "frozen_after_s, rollover_at and direction are for points that are polled";
        section.report(&section.place("name"), "name", text);
    }
    section.finish();
    let plausible = plausible?;
    Some(PointConfig {
        name: name?.into_inner(),
        source: Source::Message {
            topic: topic?.into_inner(),
            pointer: pointer.map(Spanned::into_inner),
        },
        format: point::NUMBER,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: decimals?,
        unit: unit?,
        kind: plausible.kind,
        sentinels: Vec::new(),
        scale_from: None,
        together: None,
        min: plausible.min,
        max: plausible.max,
        max_step_per_s: plausible.max_step_per_s,
        rules: PointRules::default(),
        interval_s: None,
        stale_after_s: Some(stale?),
        from: None,
    })
}

/// RFC 6901: starts with a slash; `~` only as `~0` or `~1`.
fn json_pointer(pointer: &str) -> Result<(), String> {
    let remedy = "a JSON pointer names the way to the value, e.g. \"/sensors/0/flow\"";
    if !pointer.starts_with('/') {
        return Err(format!(
            "must begin with a slash: {remedy}; leave the key out when the message is the number"
        ));
    }
    let mut letters = pointer.chars();
    while let Some(letter) = letters.next() {
        if letter == '~' && !matches!(letters.next(), Some('0' | '1')) {
            return Err(format!(
                "write ~0 for ~ and ~1 for a slash in a name: {remedy}"
            ));
        }
    }
    if pointer.len() > 200 {
        Err("longer than 200 bytes".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{json_pointer, overlaps};

    #[test]
    fn filters_overlap_when_one_topic_can_match_both() {
        for (left, right) in [
            ("a/b", "a/+"),
            ("a/#", "a"),
            ("+/b", "a/+"),
            ("#", "x/y"),
            ("a", "a"),
        ] {
            assert!(
                overlaps(left, right) && overlaps(right, left),
                "{left} {right}"
            );
        }
        for (left, right) in [
            ("a/b", "a/c"),
            ("a/+", "a"),
            ("a/+/c", "a/b"),
            ("a/#", "b/#"),
        ] {
            assert!(
                !overlaps(left, right) && !overlaps(right, left),
                "{left} {right}"
            );
        }
    }

    #[test]
    fn a_json_pointer_begins_with_a_slash_and_escapes_properly() {
        assert!(json_pointer("/a~1b/~0/0").is_ok());
        for wrong in ["a", "a/b", "/~2", "/~"] {
            assert!(json_pointer(wrong).is_err(), "{wrong}");
        }
    }
}
