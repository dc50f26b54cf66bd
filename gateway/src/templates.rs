//! The device templates that come with the program.
//!
//! They are files of `gateway/templates`, embedded when the program is built; a test compares the
//! list with the folder and reads every one. A device that is not among them is described by a file
//! of the site's own (`template = "my-meter.toml"`).

use crate::config::Template;

/// Name and text of every embedded template, ascending by name.
pub const EMBEDDED: &[(&str, &str)] = &[(
    "eastron-sdm630",
    include_str!("../templates/eastron-sdm630.toml"),
)];

/// The text of an embedded template.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    let found = EMBEDDED.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// An embedded template.
#[must_use]
pub fn find(name: &str) -> Option<Template> {
    // Every embedded template is read by a test, so an error cannot come from a released program.
    Template::parse(&format!("{name}.toml"), text(name)?).ok()
}
