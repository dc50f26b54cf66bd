//! Parses a TOML document one top-level table at a time.
//!
//! Parsed at once, a file takes 35 times its text in memory, which the allocator then keeps for as
//! long as the gateway runs: 23 MB for the 5,000 points that a gateway may have. A table of the top
//! level is a document of its own, so the text is cut before its headers and the parts are parsed one
//! after the other, their places counted from the beginning of the whole. Tables that there are many
//! of are checked first and parsed again when [`Document::each`] comes to them: there is one of them in
//! memory at a time.
//!
//! The result is that of the parser over the whole text: where a part does not parse, or two parts
//! say something of one key that only the whole can judge, the whole is parsed.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error};

use super::reader::{Reader, Section};

/// A document whose syntax was found right.
#[derive(Debug)]
pub(super) struct Document<'t> {
    /// All of it but the arrays of tables that are parsed later; these are empty here.
    table: DeTable<'t>,
    later: Vec<Part<'t>>,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy)]
struct Part<'t> {
    at: usize,
    text: &'t str,
    /// The name in its first line, `[name]` or `[[name]]`, and whether it is the latter.
    header: Option<(&'t str, bool)>,
}

impl<'t> Document<'t> {
    /// Parses a text; the arrays of tables named `many` are expected to be long.
    ///
    /// # Errors
    /// Everything that is wrong with the syntax.
    pub(super) fn parse(text: &'t str, many: &[&str]) -> Result<Self, Vec<Error>> {
        if let Some(document) = Self::in_parts(text, many) {
            return Ok(document);
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let table = table.into_inner();
            let later = Vec::new();
            Ok(Self { table, later })
        } else {
            Err(errors)
        }
    }

    /// The whole document as a section, to read everything but the long arrays.
    pub(super) fn root<'r>(&'r self, reader: &'r Reader<'t>) -> Section<'r, 't> {
        Section::root(reader, &self.table)
    }

    /// Reads the tables `[[key]]` one by one, in their order.
    pub(super) fn each<T>(
        &self,
        root: &Section<'_, 't>,
        key: &'static str,
        mut read: impl FnMut(&Section<'_, 't>) -> T,
    ) -> Vec<T> {
        let mut all: Vec<T> = root.sections(key).iter().map(&mut read).collect();
        for part in &self.later {
            if part.header == Some((key, true)) {
                let (table, _checked) = part.parse();
                let here = Section::root(root.reader, &table);
                all.extend(here.sections(key).iter().map(&mut read));
            }
        }
        all
    }

    /// The document put together of its parts, or `None` when only the whole can be judged.
    fn in_parts(text: &'t str, many: &[&str]) -> Option<Self> {
        let (mut table, mut later) = (DeTable::new(), Vec::new());
        // The arrays of tables met so far that were made by headers `[[name]]` alone.
        let mut arrays: Vec<&str> = Vec::new();
        for part in parts(text) {
            // A part that ends within a text or a list does not parse: the cut was none.
            let (entries, errors) = part.parse();
            if !errors.is_empty() {
                return None;
            }
            let array = part.header.filter(|(_, array)| *array);
            let array = array.map(|(name, _)| name);
            for (key, mut value) in entries {
                let of_array = array == Some(key.get_ref().as_ref());
                let postponed = of_array && many.iter().any(|name| *name == key.get_ref());
                if postponed {
                    *value.get_mut() = DeValue::Array(DeArray::new());
                    later.push(part);
                }
                let Some(known) = table.get_mut(&key) else {
                    arrays.extend(array.filter(|_| of_array));
                    table.insert(key, value);
                    continue;
                };
                let known_array = arrays.iter().any(|name| *name == key.get_ref());
                let (DeValue::Array(known), DeValue::Array(more), true, true) =
                    (known.get_mut(), value.into_inner(), of_array, known_array)
                else {
                    return None;
                };
                more.into_iter().for_each(|item| known.push(item));
            }
        }
        Some(Self { table, later })
    }
}

impl<'t> Part<'t> {
    fn parse(self) -> (DeTable<'t>, Vec<Error>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        (shifted_table(table.into_inner(), self.at), errors)
    }
}

/// The text cut before every line that is the header of a table of the top level.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut cuts = vec![(0, None)];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(header) = top_level_header(line) {
            cuts.push((at, Some(header)));
        }
        at += line.len();
    }
    let ends: Vec<usize> = cuts.iter().skip(1).map(|(at, _)| *at).collect();
    cuts.into_iter()
        .zip(ends.into_iter().chain([text.len()]))
        .filter_map(|((at, header), to)| {
            let text = text.get(at..to)?;
            Some(Part { at, text, header })
        })
}

/// The name in `[name]` or `[[name]]`, and whether it is the latter.
fn top_level_header(line: &str) -> Option<(&str, bool)> {
    let (inner, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let (name, rest, array) = match inner.strip_prefix('[') {
        Some(name) => (name, rest.strip_prefix(']')?, true),
        None => (inner, rest, false),
    };
    let (name, rest) = (name.trim(), rest.trim());
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_header = !name.is_empty() && name.bytes().all(bare);
    (is_header && (rest.is_empty() || rest.starts_with('#'))).then_some((name, array))
}

fn moved(span: &Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn shifted_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entry = |(key, value): (Spanned<_>, _)| {
        let place = moved(&key.span(), by);
        (Spanned::new(place, key.into_inner()), shifted(value, by))
    };
    table.into_iter().map(entry).collect()
}

/// The same value, its places counted from `by` bytes earlier.
fn shifted(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(&value.span(), by);
    let value = match value.into_inner() {
        DeValue::Array(items) => {
            let items: DeArray<'_> = items.into_iter().map(|item| shifted(item, by)).collect();
            DeValue::Array(items)
        }
        DeValue::Table(table) => DeValue::Table(shifted_table(table, by)),
        plain => plain,
    };
    Spanned::new(span, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use toml::Spanned;
    use toml::de::{DeTable, DeValue};

    use super::{Document, Reader, Section};

    /// What a document may be made of; some of it is no TOML, some only in some places.
    const LINES: &[&str] = &[
        "[[modbus]]\n",
        "[[modbus]] # the second\n",
        "  [[modbus]]\r\n",
        "[[mqtt]]\n",
        "[gateway]\n",
        "[modbus]\n",
        "[modbus.tls]\n",
        "[[modbus.point]]\n",
        "[line.tls]\n",
        "[ line ]\n",
        "[\"line\"]\n",
        "name = \"a\"\n",
        "port = 502\n",
        "list = [1, 2,\n",
        "[[1]],\n",
        "]\n",
        "text = \"\"\"\n",
        "\"\"\"\n",
        "'''\n",
        "raw = '''\n",
        "modbus = []\n",
        "modbus.x = 1\n",
        "# [[modbus]]\n",
        "é = 1\n",
        "\n",
        "[[modbus",
        "[gateway] x = 1\n",
    ];

    /// The document with every place in it as text, or the mistakes.
    fn of_whole(text: &str) -> Result<String, Vec<String>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            Ok(format!("{:?}", table.into_inner()))
        } else {
            Err(errors.iter().map(ToString::to_string).collect())
        }
    }

    /// The same by way of the parts, `[[modbus]]` parsed at the end.
    fn of_parts(text: &str) -> Result<String, Vec<String>> {
        let document = Document::parse(text, &["modbus"])
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut whole = document.table;
        for part in document.later {
            let modbus = |(key, _): &(Spanned<_>, _)| *key.get_ref() == "modbus";
            for (key, value) in part.parse().0.into_iter().filter(modbus) {
                let known = whole.get_mut(&key).unwrap();
                let (DeValue::Array(known), DeValue::Array(more)) =
                    (known.get_mut(), value.into_inner())
                else {
                    panic!("only arrays of tables are parsed later");
                };
                more.into_iter().for_each(|item| known.push(item));
            }
        }
        Ok(format!("{whole:?}"))
    }

    proptest! {
        #[test]
        fn parts_give_what_the_whole_gives(
            lines in prop::collection::vec(any::<prop::sample::Index>(), 0..12)
        ) {
            let text: String = lines.iter().map(|line| *line.get(LINES)).collect();
            prop_assert_eq!(of_parts(&text), of_whole(&text), "{}", text);
        }
    }

    #[test]
    fn an_ordinary_document_is_parsed_in_parts() {
        let text = "a = 1\n[gateway]\norigin = \"x\"\n[[modbus]]\nname = \"a\"\n[[modbus.point]]\n\
                    address = 1\n[[mqtt]]\nname = \"b\"\n[[modbus]]\nname = \"c\"\n[[mqtt]]\n";
        let document = Document::in_parts(text, &["modbus"]).unwrap();
        assert_eq!(document.later.len(), 2);
        assert_eq!(of_parts(text), of_whole(text));
        let reader = Reader::new(text);
        let root = document.root(&reader);
        let name = |section: &Section<'_, '_>| {
            let name = section.text("name").map(Spanned::into_inner);
            (name, section.sections("point").len(), section.span.clone())
        };
        let read = document.each(&root, "modbus", name);
        let place = |header: &str| text.find(header).unwrap();
        let (first, second) = (place("[[modbus]]"), text.rfind("[[modbus]]").unwrap());
        assert_eq!(read[0].0.as_deref(), Some("a"));
        assert_eq!((read[0].1, read[0].2.start), (1, first));
        assert_eq!((read[1].0.as_deref(), read[1].2.start), (Some("c"), second));
        assert_eq!(document.each(&root, "mqtt", name).len(), 2);
    }

    #[test]
    fn what_two_parts_say_of_one_key_is_left_to_the_whole() {
        for text in [
            "[gateway]\na = 1\n[gateway]\nb = 1\n",
            "modbus = []\n[[modbus]]\n",
            "[modbus]\n[[modbus]]\n",
            "[[modbus]]\n[modbus]\n",
            "text = \"\"\"\n[[modbus]]\n\"\"\"\n",
        ] {
            assert!(Document::in_parts(text, &["modbus"]).is_none(), "{text}");
            assert_eq!(of_parts(text), of_whole(text), "{text}");
        }
    }
}
