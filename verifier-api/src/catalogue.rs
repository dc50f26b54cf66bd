//! The texts of the pages: one catalogue per language.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A language that the pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Japanese,
}

type Catalogue = BTreeMap<String, String>;

fn read(text: &str) -> Catalogue {
    toml::from_str(text).expect("a test reads every catalogue")
}

static ENGLISH: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../catalogue/en.toml")));
static JAPANESE: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../catalogue/ja.toml")));

/// The texts that the script uses.
const SCRIPT: [&str; 19] = [
    "connection_live",
    "connection_lost",
    "days",
    "gateway_late",
    "gateway_ok",
    "hours",
    "minutes",
    "report_failed",
    "report_running",
    "seconds",
    "state_live",
    "state_none",
    "state_sealed",
    "today_failed",
    "today_missing_for",
    "today_never",
    "today_nothing_missing",
    "today_sealed_to",
    "today_wait",
];

impl Language {
    const ALL: [Self; 2] = [Self::English, Self::Japanese];

    /// The language code for HTML.
    pub(crate) const fn code(self) -> &'static str {
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
    pub(crate) fn t(self, key: &'static str) -> &'static str {
        self.catalogue().get(key).map_or(key, String::as_str)
    }

    /// The texts for the script, as JSON.
    pub(crate) fn texts_json(self) -> String {
        let texts: BTreeMap<&str, &str> = SCRIPT.iter().map(|key| (*key, self.t(key))).collect();
        serde_json::to_string(&texts).unwrap_or_default()
    }

    /// The other languages with their own names.
    pub(crate) fn others(self) -> Vec<(&'static str, &'static str)> {
        let others = Self::ALL.into_iter().filter(|other| *other != self);
        others
            .map(|other| (other.code(), other.t("language")))
            .collect()
    }

    /// What a person asked for: by `?lang=`, else by the cookie of an earlier choice, else by the
    /// browser's order of preference, else English.
    pub(crate) fn choose(query: Option<&str>, cookie: Option<&str>, accept: Option<&str>) -> Self {
        let known = |code: &str| {
            Self::ALL
                .into_iter()
                .find(|language| language.code() == code)
        };
        let preferred = accept.unwrap_or_default().split(',').find_map(|part| {
            let tag = part.split(';').next().unwrap_or_default().trim();
            known(tag.split('-').next().unwrap_or_default())
        });
        query
            .and_then(known)
            .or_else(|| cookie.and_then(known))
            .or(preferred)
            .unwrap_or(Self::English)
    }
}

#[cfg(test)]
mod tests {
    use super::{Language, SCRIPT};

    #[test]
    fn every_catalogue_has_the_same_keys_and_no_empty_text() {
        let [english, japanese] = Language::ALL.map(Language::catalogue);
        let missing: Vec<_> = english
            .keys()
            .filter(|key| !japanese.contains_key(*key))
            .collect();
        assert!(missing.is_empty(), "ja.toml lacks {missing:?}");
        let extra: Vec<_> = japanese
            .keys()
            .filter(|key| !english.contains_key(*key))
            .collect();
        assert!(extra.is_empty(), "ja.toml has besides {extra:?}");
        assert!(
            english
                .values()
                .chain(japanese.values())
                .all(|text| !text.is_empty())
        );
    }

    #[test]
    fn every_text_that_is_used_exists_and_every_text_is_used() {
        let mut used: Vec<String> = SCRIPT.iter().map(|key| (*key).to_owned()).collect();
        for template in [
            include_str!("../templates/base.html"),
            include_str!("../templates/login.html"),
            include_str!("../templates/project.html"),
            include_str!("../templates/projects.html"),
        ] {
            let keys = template.split("lang.t(\"").skip(1);
            used.extend(keys.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        used.push("language".to_owned());
        let script = include_str!("../assets/page.js");
        for key in script.split("texts.").skip(1) {
            let key: String = key
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            assert!(
                SCRIPT.contains(&&*key),
                "the script's `texts.{key}` is not handed to it"
            );
        }
        let english = Language::English.catalogue();
        for key in &used {
            assert!(english.contains_key(key), "no catalogue has `{key}`");
        }
        let unused: Vec<_> = english.keys().filter(|key| !used.contains(key)).collect();
        assert!(unused.is_empty(), "nobody uses {unused:?}");
    }

    #[test]
    fn a_person_gets_the_language_asked_for() {
        let choose = Language::choose;
        assert_eq!(choose(Some("ja"), None, Some("en")), Language::Japanese);
        assert_eq!(
            choose(Some("xx"), Some("ja"), Some("en")),
            Language::Japanese
        );
        assert_eq!(
            choose(None, None, Some("fr-FR, ja-JP;q=0.8, en;q=0.5")),
            Language::Japanese
        );
        assert_eq!(choose(None, None, None), Language::English);
    }
}
