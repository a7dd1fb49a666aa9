//! What is wrong with the bytes of an artifact, and where. It knows no format.

use std::io;

/// Bytes that are not what they were when they were sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Damage {
    /// What is wrong; names the offset where it is known.
    pub message: String,
    /// Where it begins in the artifact.
    pub offset_bytes: Option<u64>,
}

impl Damage {
    pub(super) fn at(offset_bytes: u64, message: impl Into<String>) -> Self {
        Self { message: message.into(), offset_bytes: Some(offset_bytes) }
    }

    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    /// The damage that an error tells of, however deep it stands.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| {
            let inside = cause.downcast_ref::<io::Error>().and_then(Self::of_io);
            cause.downcast_ref::<Self>().or(inside)
        })
    }

    fn of_io(error: &io::Error) -> Option<&Self> {
        let inner = error.get_ref()?;
        inner.downcast_ref::<Self>().or_else(|| inner.downcast_ref::<io::Error>().and_then(Self::of_io))
    }
}

/// Whether an error while an artifact was read means that its bytes are wrong, rather than out of reach.
#[must_use]
pub fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    // Deflate says InvalidInput of bytes that are none of its own.
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found_below_other_errors() {
        let damage = Damage::at(7, "the chunk at offset 7 does not open");
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, damage.clone().into_io());
        for error in [
            anyhow::Error::new(wrapped).context("while it was read"),
            anyhow::Error::new(damage.clone()).context("the header"),
        ] {
            assert_eq!(Damage::of(&error), Some(&damage), "{error:#}");
        }
        assert_eq!(Damage::of(&anyhow::anyhow!("the line broke")), None);
    }
}
