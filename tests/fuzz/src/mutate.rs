//! Inputs that are like others: a seed, changed in a few places.

use tidemill_testkit::Rng;

/// Longest input that is made, bytes.
const BYTES_MAX: usize = 16 * 1024;
/// Numbers at which something ends.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "127",
    "128",
    "255",
    "256",
    "65536",
    "2147483647",
    "2147483648",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551616",
    "1e308",
    "1e-9",
    "0.5",
];
const BYTES: [u8; 8] = [0x00, 0x01, 0x7f, 0x80, 0xff, b'"', b'\\', b'\n'];

/// What inputs are made of.
pub(crate) struct Material {
    pub(crate) seeds: Vec<Vec<u8>>,
    pub(crate) words: Vec<Vec<u8>>,
}

impl Material {
    /// A seed with some changes, mostly few.
    pub(crate) fn input(&self, rng: &mut Rng) -> Vec<u8> {
        let mut input = rng.pick(&self.seeds).cloned().unwrap_or_default();
        self.change(&mut input, rng);
        while rng.chance(40) {
            self.change(&mut input, rng);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let (from, to) = range(input.len(), rng);
        let at = rng.index(input.len() + 1);
        match rng.below(10) {
            0 => {
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= 1 << rng.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(from) {
                    let any = rng.bits() as u8;
                    *byte = *rng.pick(&BYTES).filter(|_| any & 1 == 0).unwrap_or(&any);
                }
            }
            2 => drop(input.drain(from..to)),
            3 => {
                let again = input[from..to].to_vec();
                insert(input, at, &again);
            }
            4 => input.truncate(at),
            5 => {
                if let Some(other) = rng.pick(&self.seeds) {
                    let (from, to) = range(other.len(), rng);
                    insert(input, at, &other[from..to]);
                }
            }
            6 => self.number(input, rng),
            7 => {
                // A part many times: depth and length.
                let part = input[from..to.min(from + 8)].to_vec();
                let times = 1 << rng.below(8);
                insert(input, at, &part.repeat(times));
            }
            _ => match rng.pick(&self.words) {
                Some(word) if rng.chance(50) => insert(input, at, word),
                Some(word) => drop(input.splice(from..to.min(from + word.len()), word.clone())),
                None => insert(input, at, &rng.bits().to_le_bytes()),
            },
        }
    }

    /// Puts a number where one is.
    fn number(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let start = rng.index(input.len());
        let digit = input.iter().skip(start).position(u8::is_ascii_digit).map(|at| start + at);
        let Some(from) = digit else { return };
        let digits = input[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = rng.pick(&NUMBERS).copied().unwrap_or_default();
        input.splice(from..from + digits, number.bytes());
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// A range inside `length` bytes, mostly short.
fn range(length: usize, rng: &mut Rng) -> (usize, usize) {
    let from = rng.index(length);
    let most = match rng.below(10) {
        0..6 => 4,
        6..9 => 32,
        _ => length,
    };
    let most = most.min(length - from);
    (from, from + rng.index(most + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_inputs_that_differ_from_what_they_are_made_of() {
        let seeds = vec![b"{\"a\": 12}".to_vec(), b"".to_vec(), vec![0; 3]];
        let material = Material { seeds: seeds.clone(), words: vec![b"word".to_vec()] };
        let inputs = |seed| {
            let mut rng = Rng::new(seed);
            (0..500).map(|_| material.input(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let new = inputs(1).into_iter().filter(|input| !seeds.contains(input)).count();
        assert!(new > 300, "only {new} of 500 inputs are new");
        assert!(inputs(1).iter().any(|input| input.windows(4).any(|part| part == b"word")));
        assert!(inputs(1).iter().all(|input| input.len() <= BYTES_MAX));
    }
}
