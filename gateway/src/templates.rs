//! The device templates that come with the program.
//!
//! They are files of `gateway/templates`, embedded when the program is built; a test compares the
//! list with the folder and reads every one. A device that is not among them is described by a file
//! of the site's own (`template = "my-meter.toml"`).

use crate::config::Template;

pub mod listing;
pub mod starter;

pub use starter::{Place, SerialPlace, Wishes, starter};

/// Name and text of the file `NAME.toml` of the folder.
macro_rules! embed {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../templates/", $name, ".toml")),
        )
    };
}

/// Name and text of every embedded template, ascending by name.
pub const EMBEDDED: &[(&str, &str)] = &[
    embed!("abb-b2x"),
    embed!("carlo-gavazzi-em100"),
    embed!("carlo-gavazzi-em24"),
    embed!("carlo-gavazzi-em24-e1"),
    embed!("carlo-gavazzi-em300"),
    embed!("eastron-sdm120"),
    embed!("eastron-sdm230"),
    embed!("eastron-sdm630"),
    embed!("endress-hauser-promass-83"),
    embed!("janitza-umg511"),
    embed!("janitza-umg604"),
    embed!("janitza-umg96rm"),
    embed!("keller-x-line"),
    embed!("krohne-mfc400"),
    embed!("schneider-iem3000"),
    embed!("schneider-pm5000"),
    embed!("siemens-fst030"),
    embed!("siemens-mass6000"),
    embed!("siemens-pac3200"),
    embed!("sierra-innova-mass"),
    embed!("socomec-countis-e14"),
    embed!("socomec-countis-e24"),
    embed!("socomec-countis-e44"),
    embed!("sunspec"),
    embed!("vaisala-gmp252"),
    embed!("vaisala-mgp261"),
    embed!("waveshare-ai8"),
    embed!("wirenboard-mai6"),
];

/// The names, ascending.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// Every embedded template, ascending by name.
#[must_use]
pub fn all() -> Vec<Template> {
    names().filter_map(find).collect()
}

/// An embedded template.
#[must_use]
pub fn find(name: &str) -> Option<Template> {
    let (_, text) = EMBEDDED.iter().find(|(known, _)| *known == name)?;
    // Every embedded template is read by a test, so an error cannot come from a released program.
    Template::parse(&format!("{name}.toml"), text).ok()
}

/// The names that were most likely meant: by a typing mistake, or by who knows the type but not the
/// maker (`SDM630`).
#[must_use]
pub fn meant(written: &str) -> Vec<&'static str> {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.collect::<String>().to_lowercase()
    };
    let part = plain(written);
    if part.len() >= 3 {
        let holding: Vec<&'static str> =
            names().filter(|name| plain(name).contains(&part)).collect();
        if !holding.is_empty() {
            return holding;
        }
    }
    let known: Vec<&'static str> = names().collect();
    crate::config::did_you_mean(written, &known)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn who_knows_the_type_only_is_told_the_name() {
        assert_eq!(meant("SDM630"), ["eastron-sdm630"]);
        assert_eq!(meant("sdm-630"), ["eastron-sdm630"]);
        assert_eq!(meant("promass"), ["endress-hauser-promass-83"]);
        assert_eq!(
            meant("eastron"),
            ["eastron-sdm120", "eastron-sdm230", "eastron-sdm630"]
        );
        assert_eq!(meant("eastorn-sdm630"), ["eastron-sdm630"]);
        assert!(meant("x").is_empty() && meant("toaster").is_empty());
    }
}
