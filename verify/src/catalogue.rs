//! The texts of a verdict: one catalogue per language, beside `src/`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A language that the verdict speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Language {
    /// English.
    #[default]
    #[value(name = "en")]
    English,
    /// Japanese.
    #[value(name = "ja")]
    Japanese,
}

type Catalogue = BTreeMap<String, String>;

fn read(text: &str) -> Catalogue {
    toml::from_str(text).expect("a test reads every catalogue")
}

static ENGLISH: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../catalogue/en.toml")));
static JAPANESE: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../catalogue/ja.toml")));

impl Language {
    /// The language code for HTML.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Japanese => "ja",
        }
    }

    fn catalogue(self) -> &'static Catalogue {
        match self {
            Self::English => &ENGLISH,
            Self::Japanese => &JAPANESE,
        }
    }

    /// The text of this key; the key itself if there is none, which a test excludes.
    pub(crate) fn t(self, key: &str) -> String {
        self.known(key).unwrap_or(key).to_owned()
    }

    /// The text of this key, if there is one.
    pub(crate) fn known(self, key: &str) -> Option<&'static str> {
        self.catalogue().get(key).map(String::as_str)
    }

    /// The text of this key with its places filled in.
    pub(crate) fn f(self, key: &str, values: &[&dyn std::fmt::Display]) -> String {
        let text = self.t(key);
        let mut out = String::with_capacity(text.len() + 32);
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let place = after.split_once('}').and_then(|(number, after)| {
                Some((values.get(number.parse::<usize>().ok()?)?, after))
            });
            match place {
                Some((value, after)) => {
                    out.push_str(&value.to_string());
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Language;

    fn places(text: &str) -> BTreeSet<&str> {
        let numbers = text.split('{').skip(1);
        numbers
            .filter_map(|rest| Some(rest.split_once('}')?.0))
            .collect()
    }

    #[test]
    fn every_catalogue_has_the_same_keys_and_places_and_no_empty_text() {
        let (english, japanese) = (
            Language::English.catalogue(),
            Language::Japanese.catalogue(),
        );
        for (key, text) in english {
            let other = japanese
                .get(key)
                .unwrap_or_else(|| panic!("ja.toml lacks `{key}`"));
            assert_eq!(places(text), places(other), "{key}");
            assert!(!text.is_empty() && !other.is_empty(), "{key}");
        }
        let extra: Vec<_> = japanese
            .keys()
            .filter(|key| !english.contains_key(*key))
            .collect();
        assert!(extra.is_empty(), "ja.toml has besides {extra:?}");
    }

    #[test]
    fn every_text_that_is_used_exists_and_every_text_is_used() {
        let sources = [
            include_str!("print.rs"),
            include_str!("print/authorities.rs"),
            include_str!("print/project_log.rs"),
            include_str!("html.rs"),
        ];
        let english = Language::English.catalogue();
        for source in sources {
            for call in [".t(\"", ".f(\""] {
                for rest in source.split(call).skip(1) {
                    let key = rest.split('"').next().unwrap();
                    assert!(english.contains_key(key), "no catalogue has `{key}`");
                }
            }
        }
        let is_used = |key: &str| {
            let literal = format!("\"{key}\"");
            sources.iter().any(|source| source.contains(&literal))
        };
        // Put together from a prefix and what the verdict says.
        let made = [
            "failure_",
            "reason_",
            "within_",
            "class_",
            "conclusion_",
            "earlier_",
            "language",
        ];
        let unused: Vec<_> = english
            .keys()
            .filter(|key| !is_used(key))
            .filter(|key| !made.iter().any(|prefix| key.starts_with(prefix)))
            .collect();
        assert!(unused.is_empty(), "nobody uses {unused:?}");
        for code in (1..=22)
            .map(|code| format!("V{code:02}"))
            .chain((1..=20).map(|code| format!("E{code:02}")))
        {
            assert!(english.contains_key(&format!("failure_{code}")), "{code}");
        }
    }

    #[test]
    fn places_are_filled_in_any_order() {
        let text = Language::Japanese.f("share", &[&"99 %", &"within"]);
        assert_eq!(text, "within 99 %");
        assert_eq!(Language::English.f("share", &[&"99 %", &"{1}"]), "99 % {1}");
    }
}
