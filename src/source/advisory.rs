//! Which versions of PostgreSQL let an owner of the database that is dumped run code as the role that dumps.

/// The first minor version of each major one with the fix of CVE-2024-7348.
const FIXED: [(u32, u32); 5] = [(12, 20), (13, 16), (14, 13), (15, 8), (16, 4)];

/// Those before got none.
const OLDEST: u32 = 12;

/// What to do about a program or a server of that version, `15.7 (Debian 15.7-1)`, where it is older than that fix.
#[must_use]
pub fn of(what: &str, version: &str) -> Option<String> {
    let number = version.split_whitespace().next()?;
    let (major, minor) = number.split_once('.').unwrap_or((number, ""));
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.split('.').next()?.parse().ok()?);
    let fixed = FIXED.into_iter().find(|(of, _)| *of == major).filter(|(_, fixed)| minor < *fixed);
    let wanted = match fixed {
        Some((major, fixed)) => format!("{major}.{fixed}"),
        None if major < OLDEST => "a version that is still supported".to_owned(),
        None => return None,
    };
    Some(format!(
        "{what} {number} has no fix for CVE-2024-7348 (who owns tables may run code as the role that dumps): update to {wanted}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_the_fix_are_told() {
        for old in ["12.19", "13.15 (Debian 13.15-1)", "14.12", "15.7", "16.3", "16.0", "11.22", "9.6.24"] {
            assert!(of("server", old).is_some(), "{old}");
        }
        for new in [
            "12.20",
            "13.16",
            "14.13",
            "15.8",
            "15.18 (Debian 15.18-0+deb12u1)",
            "16.4",
            "17.0",
            "18beta1",
            "x",
        ] {
            assert_eq!(of("server", new), None, "{new}");
        }
    }
}
