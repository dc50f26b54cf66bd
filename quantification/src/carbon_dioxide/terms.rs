//! The constants of the equation, as CoolProp 8.0.0 (MIT) publishes them for Span-JPCRD-1996.

/// K.
pub(super) const CRITICAL_TEMPERATURE: f64 = 304.1282;
/// Pa.
pub(super) const CRITICAL_PRESSURE: f64 = 7_377_300.0;
/// mol/m³.
pub(super) const CRITICAL_DENSITY: f64 = 10_624.906_3;
/// K.
pub(super) const TRIPLE_TEMPERATURE: f64 = 216.592;
/// J/(mol·K), the paper's value.
pub(super) const GAS_CONSTANT: f64 = 8.314_51;
/// kg/mol.
pub(super) const MOLAR_MASS: f64 = 0.044_009_8;
/// mol/m³: above every density up to 40 MPa from the triple point on.
pub(super) const DENSEST: f64 = 34_000.0;

/// `n δ^d τ^t`, and with l > 0 times `exp(-δ^l)`.
pub(super) struct Power {
    pub(super) n: f64,
    pub(super) d: u8,
    /// τ's exponent in quarters.
    pub(super) t4: u8,
    pub(super) l: u8,
}

/// `n δ^d τ^t exp(-η (δ - 1)² - β (τ - γ)²)`.
pub(super) struct Gaussian {
    pub(super) n: f64,
    pub(super) d: u8,
    pub(super) t: u8,
    pub(super) eta: f64,
    pub(super) beta: f64,
    pub(super) gamma: f64,
}

/// `n Δ^b δ ψ`, with the exponents 7/2 (a) and 3/10 (β) of the first two and 3 and 3/10 of the last.
pub(super) struct Critical {
    pub(super) n: f64,
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) large_b: f64,
    pub(super) large_c: f64,
}

/// A of the critical terms.
pub(super) const LARGE_A: f64 = 0.7;
/// β of the critical terms.
pub(super) const BETA: f64 = 0.3;
/// D of the critical terms.
pub(super) const LARGE_D: f64 = 275.0;

const fn power(n: f64, d: u8, t4: u8, l: u8) -> Power {
    Power { n, d, t4, l }
}

pub(super) const POWERS: [Power; 34] = [
    power(0.388_568_232_032, 1, 0, 0),
    power(2.938_547_594_27, 1, 3, 0),
    power(-5.586_718_853_5, 1, 4, 0),
    power(-0.767_531_995_925, 1, 8, 0),
    power(0.317_290_055_804, 2, 3, 0),
    power(0.548_033_158_978, 2, 8, 0),
    power(0.122_794_112_203, 3, 3, 0),
    power(2.165_896_154_32, 1, 6, 1),
    power(1.584_173_510_97, 2, 6, 1),
    power(-0.231_327_054_055, 4, 10, 1),
    power(0.058_116_916_431_4, 5, 0, 1),
    power(-0.553_691_372_054, 5, 6, 1),
    power(0.489_466_159_094, 5, 8, 1),
    power(-0.024_275_739_843_5, 6, 0, 1),
    power(0.062_494_790_501_7, 6, 4, 1),
    power(-0.121_758_602_252, 6, 8, 1),
    power(-0.370_556_852_701, 1, 12, 2),
    power(-0.016_775_879_700_4, 1, 24, 2),
    power(-0.119_607_366_38, 4, 12, 2),
    power(-0.045_619_362_508_8, 4, 24, 2),
    power(0.035_612_789_270_3, 4, 32, 2),
    power(-0.007_442_772_713_21, 7, 24, 2),
    power(-0.001_739_570_490_24, 8, 0, 2),
    power(-0.021_810_121_289_5, 2, 28, 3),
    power(0.024_332_166_559_2, 3, 48, 3),
    power(-0.037_440_133_423_5, 3, 64, 3),
    power(0.143_387_157_569, 5, 88, 4),
    power(-0.134_919_690_833, 5, 96, 4),
    power(-0.023_151_225_053_5, 6, 64, 4),
    power(0.012_363_125_492_9, 7, 96, 4),
    power(0.002_105_832_197_29, 8, 32, 4),
    power(-0.000_339_585_190_264, 10, 8, 4),
    power(0.005_599_365_177_16, 4, 112, 5),
    power(-0.000_303_351_180_556, 8, 56, 6),
];

pub(super) const GAUSSIANS: [Gaussian; 5] = [
    Gaussian {
        n: -213.654_886_883,
        d: 2,
        t: 1,
        eta: 25.0,
        beta: 325.0,
        gamma: 1.16,
    },
    Gaussian {
        n: 26_641.569_149_3,
        d: 2,
        t: 0,
        eta: 25.0,
        beta: 300.0,
        gamma: 1.19,
    },
    Gaussian {
        n: -24_027.212_204_6,
        d: 2,
        t: 1,
        eta: 25.0,
        beta: 300.0,
        gamma: 1.19,
    },
    Gaussian {
        n: -283.416_034_24,
        d: 3,
        t: 3,
        eta: 15.0,
        beta: 275.0,
        gamma: 1.25,
    },
    Gaussian {
        n: 212.472_844_002,
        d: 3,
        t: 3,
        eta: 20.0,
        beta: 275.0,
        gamma: 1.22,
    },
];

pub(super) const CRITICALS: [Critical; 3] = [
    Critical {
        n: -0.666_422_765_408,
        a: 3.5,
        b: 0.875,
        large_b: 0.3,
        large_c: 10.0,
    },
    Critical {
        n: 0.726_086_323_499,
        a: 3.5,
        b: 0.925,
        large_b: 0.3,
        large_c: 10.0,
    },
    Critical {
        n: 0.055_068_668_612_8,
        a: 3.0,
        b: 0.875,
        large_b: 1.0,
        large_c: 12.5,
    },
];
