//! Chance, and the one place that asks the operating system for it.

use std::fmt;

/// Where random bytes come from. The server has [`SystemEntropy`]; the simulator has a seeded one.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes` with unpredictable values.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` unpredictable bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// `length` characters of `[A-Za-z0-9]`, each drawn without bias.
    pub fn alphanumeric(&self, length: usize) -> String {
        self.characters(length, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    }

    /// `length` characters of `[A-Za-z0-9_-]`.
    pub fn url_safe(&self, length: usize) -> String {
        self.characters(length, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    }

    /// `length` lower-case hexadecimal digits.
    pub fn hex(&self, length: usize) -> String {
        self.characters(length, b"0123456789abcdef")
    }

    fn characters(&self, length: usize, alphabet: &[u8]) -> String {
        // Rejection sampling: a byte beyond the largest multiple of the alphabet's size is drawn again.
        let limit = 256 - 256 % alphabet.len();
        let mut text = String::with_capacity(length);
        let mut pool = [0_u8; 64];
        while text.len() < length {
            self.fill(&mut pool);
            for byte in pool {
                if text.len() < length && usize::from(byte) < limit {
                    text.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
                }
            }
        }
        text
    }
}

/// The operating system's generator, by way of aws-lc's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for randomness")]
    #[expect(clippy::expect_used, reason = "aws-lc aborts the process itself when its generator fails")]
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the system's random generator works");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_asked_length_and_alphabet() {
        let entropy: &dyn Entropy = &SystemEntropy;
        assert_eq!(entropy.alphanumeric(32).len(), 32);
        assert!(entropy.hex(24).bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(entropy.bytes::<16>(), entropy.bytes::<16>());
    }
}
