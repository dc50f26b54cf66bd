//! Drawing numbers from a seed that anybody can repeat.

use evidence::hash::sha256;

/// Drawn numbers: `SHA-256("fieldseal/draw/v1\n" ‖ seed ‖ "\n" ‖ counter, u64 big endian)`, the first
/// 16 bytes as a number, modulo the range. With 128 bits the bias is below one in 2^64.
#[derive(Debug)]
pub(super) struct Draw {
    seed: String,
    counter: u64,
}

impl Draw {
    pub(super) const fn new(seed: String) -> Self {
        Self { seed, counter: 0 }
    }

    /// A number below `range`, which is not 0.
    pub(super) fn below(&mut self, range: u64) -> u64 {
        let mut bytes = b"fieldseal/draw/v1\n".to_vec();
        bytes.extend_from_slice(self.seed.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        let hash = sha256(&bytes).0;
        let number = hash
            .iter()
            .take(16)
            .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        u64::try_from(number % u128::from(range.max(1))).unwrap_or(0)
    }
}

/// A seed from the operating system's random numbers.
///
/// # Errors
/// When the system has none.
pub(super) fn fresh_seed() -> anyhow::Result<String> {
    let random: ring::rand::Random<[u8; 16]> =
        ring::rand::generate(&ring::rand::SystemRandom::new()).map_err(|_unspecified| {
            anyhow::anyhow!("the system gives no random numbers; give --seed")
        })?;
    Ok(hex::encode(random.expose()))
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn the_same_seed_draws_the_same_numbers_and_every_number_comes() {
        let draw = |seed: &str| {
            let mut draw = Draw::new(seed.to_owned());
            (0..400).map(|_| draw.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        let drawn = draw("a");
        for number in 0..10 {
            let times = drawn.iter().filter(|drawn| **drawn == number).count();
            assert!((15..75).contains(&times), "{number} came {times} times");
        }
    }
}
