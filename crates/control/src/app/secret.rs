//! Passwords while they are in memory: never in Debug output, never in an error.

use std::fmt;

use rand::seq::{IndexedRandom as _, SliceRandom as _};

/// A password in clear text, on its way from or to the user.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password]")
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Characters that people do not mistake for each other (spec/rescue.md section 1.1).
const GROUPS: [&[u8]; 3] = [b"23456789", b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz"];
const LENGTH: usize = 12;

impl Password {
    /// Twelve characters with at least one digit, one capital and one small letter.
    #[must_use]
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let all: Vec<u8> = GROUPS.concat();
        let mut characters: Vec<u8> =
            GROUPS.iter().filter_map(|group| group.choose(&mut rng).copied()).collect();
        while characters.len() < LENGTH {
            characters.extend(all.choose(&mut rng).copied());
        }
        characters.shuffle(&mut rng);
        Self(characters.into_iter().map(char::from).collect())
    }

    /// The clear text, for the one answer that shows it and for sealing.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_have_every_group_and_differ() {
        let (one, two) = (Password::generate(), Password::generate());
        assert_ne!(one, two);
        for group in GROUPS {
            assert!(one.reveal().bytes().any(|byte| group.contains(&byte)));
        }
        assert_eq!(one.reveal().len(), 12);
        assert!(!format!("{one:?}").contains(one.reveal()));
    }
}
