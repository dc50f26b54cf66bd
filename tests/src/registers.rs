//! How the plant's meters show it: devices, unit ids and register maps.
//!
//! One table serves both ends: the simulated servers answer from it, and the generated gateway
//! configuration polls it. Makers and maps are invented; the formats are those met in the field:
//! floats and 32-bit counters in both word orders, scaled 16-bit values, a status bit.

use crate::site::SiteState;

/// Where a device is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// The serial-to-Ethernet converter at the wells.
    Wellpad,
    /// The meters' own gateway in the power house.
    Powerhouse,
}

impl Server {
    /// Both servers.
    pub const ALL: [Self; 2] = [Self::Wellpad, Self::Powerhouse];

    /// Returns the name used in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wellpad => "wellpad",
            Self::Powerhouse => "powerhouse",
        }
    }
}

/// A Modbus table that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Single bits, function 2.
    Discrete,
    /// 16-bit words, function 3.
    Holding,
    /// 16-bit words, function 4.
    Input,
}

/// How a register's number is laid out in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One bit of a discrete input.
    Bit,
    /// Unsigned, one word.
    U16,
    /// Signed, one word.
    I16,
    /// Unsigned, two words.
    U32,
    /// Signed, two words.
    I32,
    /// IEEE 754 single, two words; the state's integer stands this many decimals up.
    F32 {
        /// Decimal places of the integer that `value` returns.
        decimals: u32,
    },
}

/// Order of the words of a two-word value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Most significant word first.
    Abcd,
    /// Least significant word first.
    Cdab,
}

/// One value of a device.
#[derive(Debug, Clone, Copy)]
pub struct Register {
    /// Name, unique within the device.
    pub name: &'static str,
    /// The table it stands in.
    pub table: Table,
    /// First word, as in the PDU (0-based).
    pub address: u16,
    /// Layout.
    pub format: Format,
    /// Word order.
    pub order: Order,
    /// What one raw step is worth in `unit`.
    pub scale: &'static str,
    /// Decimal places of the grid of the scaled value.
    pub decimals: u8,
    /// Unit symbol of the scaled value.
    pub unit: &'static str,
    /// Whether this is a counter that only rises.
    pub counter: bool,
    /// Largest plausible value in `unit`, for instants: the nameplate.
    pub max: Option<&'static str>,
    /// The raw number at a state (for floats: times 10^decimals).
    pub value: fn(&SiteState) -> i64,
}

/// One device behind a server.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// Name used in configurations.
    pub name: &'static str,
    /// Where it is reached.
    pub server: Server,
    /// Modbus unit id.
    pub unit_id: u8,
    /// Serial number, shown in input and holding registers 100 and 101.
    pub serial: u32,
    /// What it shows.
    pub registers: &'static [Register],
}

/// All devices of the plant.
pub const DEVICES: [Device; 5] = [
    Device {
        name: "well-1",
        server: Server::Wellpad,
        unit_id: 1,
        serial: 40_110_001,
        registers: &WELL_1,
    },
    Device {
        name: "well-2",
        server: Server::Wellpad,
        unit_id: 2,
        serial: 40_110_002,
        registers: &WELL_2,
    },
    Device {
        name: "compressor",
        server: Server::Powerhouse,
        unit_id: 10,
        serial: 77_010_010,
        registers: &COMPRESSOR,
    },
    Device {
        name: "genset",
        server: Server::Powerhouse,
        unit_id: 11,
        serial: 77_010_011,
        registers: &GENSET,
    },
    Device {
        name: "pv",
        server: Server::Powerhouse,
        unit_id: 12,
        serial: 77_010_012,
        registers: &PV,
    },
];

/// First of the two registers that hold the serial number, in both word tables.
pub const SERIAL_ADDRESS: u16 = 100;

const fn instant(
    name: &'static str,
    table: Table,
    address: u16,
    format: Format,
    value: fn(&SiteState) -> i64,
) -> Register {
    Register {
        name,
        table,
        address,
        format,
        order: Order::Abcd,
        scale: "1",
        decimals: 0,
        unit: "1",
        counter: false,
        max: None,
        value,
    }
}

impl Register {
    const fn scaled(mut self, scale: &'static str, decimals: u8, unit: &'static str) -> Self {
        self.scale = scale;
        self.decimals = decimals;
        self.unit = unit;
        self
    }

    const fn counter(mut self) -> Self {
        self.counter = true;
        self
    }

    const fn max(mut self, max: &'static str) -> Self {
        self.max = Some(max);
        self
    }

    const fn swapped(mut self) -> Self {
        self.order = Order::Cdab;
        self
    }

    /// Returns the point's name in a gateway's configuration, unique over the plant.
    pub fn point_name(&self, device: &Device) -> String {
        format!("{}.{}", device.name, self.name)
    }

    /// Returns how many words (or bits) the value takes.
    pub fn width(&self) -> u16 {
        match self.format {
            Format::Bit | Format::U16 | Format::I16 => 1,
            Format::U32 | Format::I32 | Format::F32 { .. } => 2,
        }
    }

    /// Returns the value's words at a state. A number that does not fit reads as zero, as a meter
    /// that was reset would show.
    pub fn words(&self, state: &SiteState) -> Vec<u16> {
        let raw = (self.value)(state);
        match self.format {
            Format::Bit => vec![u16::from(raw != 0)],
            Format::U16 => vec![u16::try_from(raw).unwrap_or(0)],
            Format::I16 => vec![i16::try_from(raw).unwrap_or(0).cast_unsigned()],
            Format::U32 => self.in_order(u32::try_from(raw).unwrap_or(0)),
            Format::I32 => self.in_order(i32::try_from(raw).unwrap_or(0).cast_unsigned()),
            Format::F32 { decimals } => self.in_order(nearest_f32(raw, decimals).to_bits()),
        }
    }

    fn in_order(&self, value: u32) -> Vec<u16> {
        let [a, b, c, d] = value.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        match self.order {
            Order::Abcd => vec![high, low],
            Order::Cdab => vec![low, high],
        }
    }
}

/// The single nearest to `raw / 10^decimals`, correctly rounded by the standard parser.
fn nearest_f32(raw: i64, decimals: u32) -> f32 {
    format!("{raw}e-{decimals}").parse().unwrap_or(0.0)
}

const WELL_1: [Register; 6] = [
    instant(
        "mass_flow",
        Table::Holding,
        0,
        Format::F32 { decimals: 6 },
        |s| s.wells[0].flow_g_per_h,
    )
    .scaled("1", 4, "t/h")
    .max("12"),
    instant("injected", Table::Holding, 2, Format::U32, |s| {
        s.wells[0].injected_g / 1_000
    })
    .scaled("1", 0, "kg")
    .counter(),
    instant("pressure", Table::Holding, 6, Format::U16, |s| {
        s.wells[0].pressure_kpa
    })
    .scaled("0.001", 3, "MPa_a")
    .max("16"),
    instant("temperature", Table::Holding, 7, Format::I16, |s| {
        s.wells[0].temperature_centi_c
    })
    .scaled("0.01", 2, "°C")
    .max("80"),
    instant("shut_in", Table::Holding, 8, Format::U16, |s| {
        i64::from(s.wells[0].shut_in)
    }),
    instant(
        "injected_float",
        Table::Holding,
        9,
        Format::F32 { decimals: 6 },
        |s| s.wells[0].injected_g,
    )
    .scaled("1", 3, "t")
    .counter(),
];

const WELL_2: [Register; 5] = [
    instant(
        "mass_flow",
        Table::Holding,
        0,
        Format::F32 { decimals: 6 },
        |s| s.wells[1].flow_g_per_h,
    )
    .scaled("1", 4, "t/h")
    .max("8")
    .swapped(),
    instant("injected", Table::Holding, 2, Format::U32, |s| {
        s.wells[1].injected_g / 1_000
    })
    .scaled("1", 0, "kg")
    .counter()
    .swapped(),
    instant("pressure", Table::Holding, 6, Format::U16, |s| {
        s.wells[1].pressure_kpa
    })
    .scaled("0.001", 3, "MPa_a")
    .max("16"),
    instant("temperature", Table::Holding, 7, Format::I16, |s| {
        s.wells[1].temperature_centi_c
    })
    .scaled("0.01", 2, "°C")
    .max("80"),
    instant("shut_in", Table::Holding, 8, Format::U16, |s| {
        i64::from(s.wells[1].shut_in)
    }),
];

const COMPRESSOR: [Register; 2] = [
    instant("power", Table::Input, 0, Format::I32, |s| s.compressor_w)
        .scaled("0.001", 3, "kW")
        .max("2000"),
    instant("import_energy", Table::Input, 2, Format::U32, |s| {
        s.compressor_wh / 100
    })
    .scaled("0.1", 1, "kWh")
    .counter(),
];

const GENSET: [Register; 3] = [
    instant("fuel", Table::Input, 0, Format::U32, |s| s.genset_ml / 100)
        .scaled("0.1", 1, "L")
        .counter(),
    instant("fuel_rate", Table::Input, 2, Format::U16, |s| {
        s.genset_ml_per_h / 10
    })
    .scaled("0.01", 2, "L/h")
    .max("60"),
    instant("running", Table::Discrete, 0, Format::Bit, |s| {
        i64::from(s.genset_ml_per_h > 0)
    }),
];

const PV: [Register; 2] = [
    instant("power", Table::Input, 0, Format::I32, |s| s.pv_w)
        .scaled("0.001", 3, "kW")
        .max("260"),
    instant("export_energy", Table::Input, 2, Format::U32, |s| {
        s.pv_wh / 10
    })
    .scaled("0.01", 2, "kWh")
    .counter(),
];

/// Returns the words (or bits) that a device shows from `start`, or `None` where the range
/// touches a register that does not exist: the meter then answers exception 2.
pub fn image(
    device: &Device,
    table: Table,
    start: u16,
    count: u16,
    state: &SiteState,
) -> Option<Vec<u16>> {
    let last = device
        .registers
        .iter()
        .filter(|register| register.table == table)
        .map(|register| register.address + register.width())
        .max()
        .unwrap_or(0);
    let serial = match table {
        Table::Discrete => 0..0,
        Table::Holding | Table::Input => SERIAL_ADDRESS..SERIAL_ADDRESS + 2,
    };
    let end = start.checked_add(count)?;
    if count == 0 || !(end <= last || (start >= serial.start && end <= serial.end)) {
        return None;
    }
    // Holes between registers read as zero, as on most meters.
    let mut words = vec![0; usize::from(count)];
    let mut put = |address: u16, value: &[u16]| {
        for (address, value) in (address..).zip(value) {
            let slot = address
                .checked_sub(start)
                .and_then(|at| words.get_mut(usize::from(at)));
            if let Some(slot) = slot {
                *slot = *value;
            }
        }
    };
    for register in device
        .registers
        .iter()
        .filter(|register| register.table == table)
    {
        put(register.address, &register.words(state));
    }
    let [a, b, c, d] = device.serial.to_be_bytes();
    if start >= serial.start && !serial.is_empty() {
        put(
            SERIAL_ADDRESS,
            &[u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])],
        );
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{COMMISSIONED_UNIX_MS, Site};

    fn state() -> SiteState {
        Site::new(5).state_at(COMMISSIONED_UNIX_MS + 10 * 86_400_000)
    }

    #[test]
    fn registers_of_a_device_do_not_overlap_and_their_names_differ() {
        for device in &DEVICES {
            for (i, one) in device.registers.iter().enumerate() {
                for other in &device.registers[i + 1..] {
                    assert_ne!(one.name, other.name, "{}", device.name);
                    let apart = one.table != other.table
                        || one.address + one.width() <= other.address
                        || other.address + other.width() <= one.address;
                    assert!(apart, "{}: {} and {}", device.name, one.name, other.name);
                }
            }
        }
    }

    #[test]
    fn both_word_orders_hold_the_same_counter() {
        let state = state();
        let kg = u32::try_from(state.wells[0].injected_g / 1_000).unwrap();
        let high_first = image(&DEVICES[0], Table::Holding, 2, 2, &state).unwrap();
        assert_eq!(
            (u32::from(high_first[0]) << 16) | u32::from(high_first[1]),
            kg
        );
        let kg = u32::try_from(state.wells[1].injected_g / 1_000).unwrap();
        let low_first = image(&DEVICES[1], Table::Holding, 2, 2, &state).unwrap();
        assert_eq!(
            (u32::from(low_first[1]) << 16) | u32::from(low_first[0]),
            kg
        );
    }

    #[test]
    fn a_float_register_holds_the_nearest_single() {
        assert_eq!(nearest_f32(8_400_000, 6).to_bits(), 8.4_f32.to_bits());
        assert_eq!(nearest_f32(-5, 1).to_bits(), (-0.5_f32).to_bits());
    }

    #[test]
    fn a_range_that_leaves_the_map_is_refused_and_a_hole_reads_zero() {
        let state = state();
        let well = &DEVICES[0];
        assert_eq!(image(well, Table::Holding, 4, 2, &state).unwrap(), [0, 0]);
        assert!(image(well, Table::Holding, 0, 11, &state).is_some());
        assert!(image(well, Table::Holding, 0, 12, &state).is_none());
        assert!(image(well, Table::Input, 0, 1, &state).is_none());
        assert!(image(well, Table::Holding, u16::MAX, 2, &state).is_none());
        assert_eq!(
            image(well, Table::Holding, SERIAL_ADDRESS, 2, &state).unwrap(),
            [612, 1_969]
        );
    }

    #[test]
    fn every_value_of_a_month_is_within_its_nameplate_and_width() {
        let site = Site::new(8);
        for hour in 0..720 {
            let state = site.state_at(COMMISSIONED_UNIX_MS + hour * 3_600_000);
            for register in DEVICES.iter().flat_map(|device| device.registers) {
                let raw = (register.value)(&state);
                let fits = match register.format {
                    Format::Bit => (0..=1).contains(&raw),
                    Format::U16 => u16::try_from(raw).is_ok(),
                    Format::I16 => i16::try_from(raw).is_ok(),
                    Format::U32 => u32::try_from(raw).is_ok(),
                    Format::I32 => i32::try_from(raw).is_ok(),
                    Format::F32 { .. } => true,
                };
                assert!(fits, "{} is {raw} in hour {hour}", register.name);
            }
        }
    }
}
