//! 256-bit products and their division by powers of ten.

use super::ArithmeticError;

/// 256 bits as four limbs, least significant first.
pub(super) type Limbs = [u64; 4];

fn low(value: u128) -> u64 {
    u64::try_from(value & u128::from(u64::MAX)).expect("masked to 64 bits")
}

pub(super) fn product(a: u128, b: u128) -> Limbs {
    let (a, b) = ([low(a), low(a >> 64)], [low(b), low(b >> 64)]);
    let mut limbs = [0_u64; 4];
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0_u128;
        for (j, &y) in b.iter().enumerate() {
            // At most (2^64-1)^2 + 2 (2^64-1) = 2^128 - 1: fits.
            let sum = u128::from(x) * u128::from(y) + u128::from(limbs[i + j]) + carry;
            limbs[i + j] = low(sum);
            carry = sum >> 64;
        }
        limbs[i + 2] = low(carry);
    }
    limbs
}

pub(super) fn divide_small(limbs: Limbs, divisor: u64) -> (Limbs, u64) {
    let (mut quotient, mut rest) = ([0_u64; 4], 0_u128);
    for i in (0..4).rev() {
        let part = (rest << 64) | u128::from(limbs[i]);
        quotient[i] = low(part / u128::from(divisor));
        rest = part % u128::from(divisor);
    }
    (quotient, low(rest))
}

/// Divides by `10^count`, half to even; `count` is at least 1.
pub(super) fn drop_digits(mut limbs: Limbs, count: u32) -> Limbs {
    let mut sticky = false;
    for _ in 1..count {
        let (quotient, rest) = divide_small(limbs, 10);
        (limbs, sticky) = (quotient, sticky || rest != 0);
    }
    let (mut quotient, digit) = divide_small(limbs, 10);
    if digit > 5 || (digit == 5 && (sticky || quotient[0] % 2 == 1)) {
        for limb in &mut quotient {
            let (sum, carry) = limb.overflowing_add(1);
            *limb = sum;
            if !carry {
                break;
            }
        }
    }
    quotient
}

pub(super) fn narrow(limbs: Limbs) -> Result<u128, ArithmeticError> {
    if limbs[2] != 0 || limbs[3] != 0 {
        return Err(ArithmeticError::Overflow);
    }
    Ok((u128::from(limbs[1]) << 64) | u128::from(limbs[0]))
}
