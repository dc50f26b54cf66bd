//! Finding the models of a SunSpec device.
//!
//! A SunSpec map begins with the two registers `SunS` at one of three addresses and is a chain of
//! models, each with its id, its length and that many registers, until the id 0xFFFF. [`Walk`] follows
//! the chain: it says which registers to read next and takes what came, so it needs no line of its own
//! and can be tried on any register image. Whatever a device answers, it ends: the chain only goes
//! forward, and after [`MOST_MODELS`] models or at the end of the table it stops and says so.
//!
//! The order of the base addresses and the layout of the chain and of model 1 are those of the
//! SunSpec Device Information Model specification.

use evidence::measurement::Table;
use serde::Serialize;

use crate::plan::Span;

/// Where a map may begin, PDU addresses, in the order in which they are tried.
pub const BASES: [u16; 3] = [40_000, 0, 50_000];

/// A chain longer than this is taken for a mistake; real devices have up to about thirty.
pub const MOST_MODELS: usize = 100;

/// `SunS`.
const MARK: [u16; 2] = [0x5375, 0x6E53];

/// The id after the last model.
const END: u16 = 0xFFFF;

/// The common model, which comes first.
const COMMON: u16 = 1;

/// Registers of the common model that are of use, its header included.
const COMMON_WORDS: u16 = 68;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Map {
    /// Where `SunS` stands, PDU address.
    pub base: u16,
    /// What the device says of itself.
    pub common: Common,
    /// Every model of the chain in its order, the unknown ones included.
    pub models: Vec<Model>,
    /// Why the chain ended.
    pub end: End,
}

/// One model of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its id, e.g. 103.
    pub id: u16,
    /// Where its id stands, PDU address.
    pub address: u16,
    /// How many registers follow id and length, as the device says.
    pub length: u16,
}

/// The common model; empty where the device says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Common {
    /// The maker.
    pub manufacturer: String,
    /// The type.
    pub model: String,
    /// The version of its firmware.
    pub version: String,
    /// The serial number.
    pub serial_number: String,
}

/// Why a chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With the id 0xFFFF, as it should.
    Marked,
    /// The device refused this address, where the next model should begin.
    Refused(u16),
    /// The next model would begin behind the last register.
    OutOfTable,
    /// After [`MOST_MODELS`] models.
    TooLong,
}

/// A search for the map, question by question.
#[derive(Debug, Clone)]
pub struct Walk {
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// Asking whether the map begins at this one of [`BASES`].
    Base(usize),
    /// Asking for the id and length at this address.
    Header(Map, u16),
    /// Asking for the words of the common model.
    Common(Map, Model),
    Found(Map),
    None,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            stage: Stage::Base(0),
        }
    }
}

impl Walk {
    /// The registers to read next; `None` when the search is over.
    #[must_use]
    pub fn question(&self) -> Option<Span> {
        let (address, count) = match &self.stage {
            Stage::Base(place) => (*BASES.get(*place)?, 2),
            Stage::Header(_, at) => (*at, 2),
            Stage::Common(_, model) => (model.address, common_words(*model)),
            Stage::Found(_) | Stage::None => return None,
        };
        Some(Span {
            table: Table::Holding,
            address,
            count,
        })
    }

    /// Takes the words of [`Walk::question`]; `None` when the device has no such registers.
    pub fn answer(&mut self, words: Option<&[u16]>) {
        let stage = std::mem::replace(&mut self.stage, Stage::None);
        self.stage = match stage {
            Stage::Base(place) => based(place, words),
            Stage::Header(map, at) => headed(map, at, words),
            Stage::Common(mut map, model) => {
                map.common = Common::read(words.unwrap_or_default());
                following(map, model)
            }
            over @ (Stage::Found(_) | Stage::None) => over,
        };
    }

    /// The map, if there is one and the search is over.
    #[must_use]
    pub fn map(self) -> Option<Map> {
        match self.stage {
            Stage::Found(map) => Some(map),
            _ => None,
        }
    }
}

/// Searches with `read`, which returns `None` for registers that the device refuses.
///
/// # Errors
/// The first error of `read`: a line that does not answer says nothing about a map.
pub async fn discover<E>(
    mut read: impl AsyncFnMut(Span) -> Result<Option<Vec<u16>>, E>,
) -> Result<Option<Map>, E> {
    let mut walk = Walk::default();
    while let Some(span) = walk.question() {
        let words = read(span).await?;
        walk.answer(words.as_deref());
    }
    Ok(walk.map())
}

fn based(place: usize, words: Option<&[u16]>) -> Stage {
    if words != Some(&MARK) {
        return if place + 1 < BASES.len() {
            Stage::Base(place + 1)
        } else {
            Stage::None
        };
    }
    let base = BASES.get(place).copied().unwrap_or_default();
    let map = Map {
        base,
        common: Common::default(),
        models: Vec::new(),
        end: End::Marked,
    };
    // No base is that near to the end of the table.
    Stage::Header(map, base.saturating_add(2))
}

fn headed(mut map: Map, at: u16, words: Option<&[u16]>) -> Stage {
    let Some(&[id, length]) = words else {
        map.end = End::Refused(at);
        return Stage::Found(map);
    };
    if id == END {
        return Stage::Found(map);
    }
    if map.models.len() == MOST_MODELS {
        map.end = End::TooLong;
        return Stage::Found(map);
    }
    let model = Model {
        id,
        address: at,
        length,
    };
    map.models.push(model);
    let fits = u32::from(at) + u32::from(common_words(model)) <= 0x1_0000;
    if id == COMMON && map.models.len() == 1 && fits {
        Stage::Common(map, model)
    } else {
        following(map, model)
    }
}

/// The stage after a model: its successor's header, if the table goes on that far.
fn following(mut map: Map, model: Model) -> Stage {
    let next = u32::from(model.address) + 2 + u32::from(model.length);
    match u16::try_from(next) {
        Ok(next) if next < u16::MAX => Stage::Header(map, next),
        _ => {
            map.end = End::OutOfTable;
            Stage::Found(map)
        }
    }
}

fn common_words(model: Model) -> u16 {
    model.length.saturating_add(2).min(COMMON_WORDS)
}

impl Common {
    /// Reads what is there of the model's words, its header first.
    fn read(words: &[u16]) -> Self {
        let text = |first: usize, count: usize| {
            let part = words.get(first..first + count).unwrap_or_default();
            let bytes: Vec<u8> = part.iter().flat_map(|word| word.to_be_bytes()).collect();
            let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = String::from_utf8_lossy(bytes);
            let printable = text.chars().filter(|letter| !letter.is_control());
            printable.collect::<String>().trim().to_owned()
        };
        Self {
            manufacturer: text(2, 16),
            model: text(18, 16),
            version: text(42, 8),
            serial_number: text(50, 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::{BASES, Common, End, MARK, MOST_MODELS, Map, Model, Walk, discover};
    use crate::plan::Span;
    use proptest::prelude::{
        Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    /// Registers that exist; all others are refused.
    type Image = BTreeMap<u16, u16>;

    fn read(image: &Image, span: Span) -> Option<Vec<u16>> {
        let addresses = u32::from(span.address)..span.end();
        addresses
            .map(|at| image.get(&u16::try_from(at).ok()?).copied())
            .collect()
    }

    /// The map and how many questions it took.
    fn walk(image: &Image) -> (Option<Map>, usize) {
        let (mut walk, mut questions) = (Walk::default(), 0);
        while let Some(span) = walk.question() {
            assert!(
                span.count >= 2 && span.count <= 125 && span.end() <= 0x1_0000,
                "{span:?}"
            );
            walk.answer(read(image, span).as_deref());
            questions += 1;
            assert!(
                questions <= BASES.len() + 2 + MOST_MODELS,
                "the search does not end"
            );
        }
        (walk.map(), questions)
    }

    fn text(text: &str, words: usize) -> Vec<u16> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(2 * words, 0);
        bytes
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// `SunS` at `base`, then these models (id, length), the first of them the common model.
    fn device(base: u16, models: &[(u16, u16)]) -> Image {
        let mut words = MARK.to_vec();
        for &(id, length) in models {
            words.extend([id, length]);
            let from = words.len();
            if id == 1 {
                words.extend(text("Example Works", 16));
                words.extend(text("Inverter 10", 16));
                words.extend(text("", 8));
                words.extend(text("1.4.2", 8));
                words.extend(text("SN 0042", 16));
            }
            words.resize(from + usize::from(length), 0);
        }
        words.extend([0xFFFF, 0]);
        (base..=u16::MAX).zip(words).collect()
    }

    #[test]
    fn the_chain_is_found_at_each_base_and_unknown_models_are_stepped_over() {
        for base in BASES {
            let image = device(base, &[(1, 66), (64_123, 7), (103, 50), (160, 28)]);
            let map = walk(&image).0.unwrap();
            assert_eq!((map.base, map.end), (base, End::Marked));
            let found: Vec<(u16, u16)> = map
                .models
                .iter()
                .map(|m| (m.id, m.address - base))
                .collect();
            assert_eq!(found, [(1, 2), (64_123, 70), (103, 79), (160, 131)]);
            let said = Common {
                manufacturer: "Example Works".to_owned(),
                model: "Inverter 10".to_owned(),
                version: "1.4.2".to_owned(),
                serial_number: "SN 0042".to_owned(),
            };
            assert_eq!(map.common, said);
        }
    }

    #[test]
    fn the_first_base_in_the_order_wins() {
        let mut image = device(50_000, &[(1, 65)]);
        image.extend(device(0, &[(1, 65)]));
        assert_eq!(walk(&image).0.unwrap().base, 0);
        image.extend(device(40_000, &[(1, 65)]));
        assert_eq!(walk(&image).0.unwrap().base, 40_000);
    }

    #[test]
    fn a_device_without_sunspec_has_no_map_after_three_questions() {
        assert_eq!(walk(&Image::new()), (None, 3));
        let zeros: Image = (0..=u16::MAX).map(|at| (at, 0)).collect();
        assert_eq!(walk(&zeros), (None, 3));
    }

    #[test]
    fn a_broken_chain_ends_and_says_how() {
        let mut torn = device(40_000, &[(1, 66), (103, 50)]);
        torn.retain(|&at, _| at < 40_100);
        assert_eq!(walk(&torn).0.unwrap().end, End::Refused(40_122));
        let far = device(40_000, &[(1, 66), (103, 60_000)]);
        assert_eq!(walk(&far).0.unwrap().end, End::OutOfTable);
        let mut endless: Image = (0..=u16::MAX).map(|at| (at, 0)).collect();
        endless.extend((40_000..=u16::MAX).zip(MARK));
        let map = walk(&endless).0.unwrap();
        assert_eq!((map.end, map.models.len()), (End::TooLong, MOST_MODELS));
    }

    #[test]
    fn a_short_common_model_is_read_as_far_as_it_goes() {
        let map = walk(&device(0, &[(1, 20), (103, 50)]));
        // Its words are cut to the stated length: the maker is there, the serial number is not.
        let map = map.0.unwrap();
        assert_eq!(map.common.manufacturer, "Example Works");
        assert_eq!(map.common.serial_number, "");
        assert_eq!(
            map.models[1],
            Model {
                id: 103,
                address: 24,
                length: 50
            }
        );
    }

    #[tokio::test]
    async fn an_error_of_the_line_is_no_answer_about_the_map() {
        let image = device(0, &[(1, 66), (103, 50)]);
        let found: Result<_, Infallible> = discover(async |span| Ok(read(&image, span))).await;
        assert_eq!(found, Ok(walk(&image).0));
        let failed = discover(async |_| Err("no answer")).await;
        assert_eq!(failed, Err("no answer"));
    }

    /// Registers in runs, many of them like `SunS`, an end or a header.
    fn images() -> impl Strategy<Value = Image> {
        let word = prop_oneof![
            4 => any::<u16>(),
            2 => 0_u16..130,
            1 => Just(MARK[0]), 1 => Just(MARK[1]), 1 => Just(0xFFFF),
        ];
        let first = prop_oneof![Just(0_u16), Just(40_000), Just(50_000), any::<u16>()];
        let run = (
            first,
            any::<bool>(),
            proptest::collection::vec(word, 0..300),
        );
        let run = run.prop_map(|(first, marked, words)| {
            let mark = marked.then_some(MARK).into_iter().flatten();
            (first..=u16::MAX)
                .zip(mark.chain(words))
                .collect::<Vec<_>>()
        });
        proptest::collection::vec(run, 1..8).prop_map(|runs| runs.into_iter().flatten().collect())
    }

    proptest! {
        #[test]
        fn on_any_registers_the_search_ends_and_every_model_is_where_it_says(image in images()) {
            let (map, _) = walk(&image);
            let Some(map) = map else {
                for base in BASES {
                    let span = Span { table: evidence::measurement::Table::Holding, address: base, count: 2 };
                    prop_assert!(read(&image, span).as_deref() != Some(&MARK));
                }
                return Ok(());
            };
            let mut next = u32::from(map.base) + 2;
            for model in &map.models {
                prop_assert_eq!(u32::from(model.address), next);
                prop_assert_eq!(image.get(&model.address), Some(&model.id));
                prop_assert_eq!(image.get(&(model.address + 1)), Some(&model.length));
                next += 2 + u32::from(model.length);
            }
            prop_assert!(map.models.len() <= MOST_MODELS);
        }

        #[test]
        fn any_well_formed_chain_comes_back_whole(
            base in 0_usize..3,
            models in proptest::collection::vec((2_u16..0xFFFF, 0_u16..400), 0..30),
        ) {
            let mut chain = vec![(1, 66)];
            chain.extend(models);
            let (map, _) = walk(&device(BASES[base], &chain));
            let map = map.unwrap();
            let found: Vec<(u16, u16)> = map.models.iter().map(|m| (m.id, m.length)).collect();
            prop_assert_eq!(found, chain);
            prop_assert_eq!(map.end, End::Marked);
        }
    }
}
