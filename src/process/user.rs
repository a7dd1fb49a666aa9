//! The users and groups of this host, as `/etc/passwd` and `/etc/group` have them (their formats: passwd(5), group(5)).

/// A user that a program can run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The number of the user.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

/// The numbers that nobody is given for good: systemd takes users of its services from here, too, for as long as
/// those run.
const PASSING: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// Where systemd notes those that it has given to a service (a file's name is the number).
const LENT: &str = "/run/systemd/dynamic-uid";
/// Tries at finding one.
const TRIES: u32 = 64;

impl User {
    /// A user without a name that owns nothing: no entry has its number, and no process runs as it. `seed`
    /// says where to look first. `None` when there is none.
    #[must_use]
    pub fn passing(seed: u32) -> Option<Self> {
        let names = Names::of_host();
        let count = PASSING.end() - PASSING.start() + 1;
        let numbers = (0..TRIES).map(|step| PASSING.start() + seed.wrapping_add(step) % count);
        let free = |id: &u32| {
            names.user(*id).is_none() && names.group(*id).is_none() && !is_lent(*id) && !super::is_used(*id)
        };
        numbers.into_iter().find(free).map(|id| Self { uid: id, gid: id })
    }

    /// Whether that number is one of those that are given for a while.
    #[must_use]
    pub fn is_passing(uid: u32) -> bool {
        PASSING.contains(&uid) && Names::of_host().user(uid).is_none()
    }

    /// The user of that name; `None` when there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        find(&read("/etc/passwd"), name)
    }
}

/// Whether systemd has given that number to a service.
fn is_lent(id: u32) -> bool {
    std::path::Path::new(LENT).join(id.to_string()).symlink_metadata().is_ok()
}

/// The names of numbers and the numbers of names, read once. What only a directory service knows has none.
#[derive(Debug)]
pub struct Names {
    passwd: String,
    group: String,
}

impl Names {
    /// Those of this host.
    #[must_use]
    pub fn of_host() -> Self {
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// The name of a user.
    #[must_use]
    pub fn user(&self, uid: u32) -> Option<&str> {
        name_of(&self.passwd, uid)
    }

    /// The name of a group.
    #[must_use]
    pub fn group(&self, gid: u32) -> Option<&str> {
        name_of(&self.group, gid)
    }

    /// The number of a user.
    #[must_use]
    pub fn uid(&self, user: &str) -> Option<u32> {
        number_of(&self.passwd, user)
    }

    /// The number of a group.
    #[must_use]
    pub fn gid(&self, group: &str) -> Option<u32> {
        number_of(&self.group, group)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn number_of(list: &str, name: &str) -> Option<u32> {
    pairs(list).find(|(known, _)| *known == name).map(|(_, number)| number)
}

fn name_of(list: &str, number: u32) -> Option<&str> {
    pairs(list).find(|(_, known)| *known == number).map(|(name, _)| name)
}

/// Each name with its number; the third field has it in both files.
fn pairs(list: &str) -> impl Iterator<Item = (&str, u32)> {
    list.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        Some((name, number.parse().ok()?)).filter(|(name, _)| !name.is_empty())
    })
}

fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [user, _, uid, gid, ..] if *user == name => {
                Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_alone() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib/postgresql:/bin/sh\n";
        assert_eq!(find(passwd, "postgres"), Some(User { uid: 101, gid: 104 }));
        assert_eq!(find(passwd, "post"), None);
        assert_eq!(find("+::::::\n", "postgres"), None);
        let names = Names {
            passwd: passwd.to_owned(),
            group: "root:x:0:\nssl-cert:x:104:postgres\n+:::\n".to_owned(),
        };
        assert_eq!((names.user(101), names.group(104)), (Some("postgres"), Some("ssl-cert")));
        assert_eq!((names.uid("root"), names.gid("ssl-cert")), (Some(0), Some(104)));
        assert_eq!(
            (names.user(5), names.group(101), names.uid(""), names.gid("+")),
            (None, None, None, None)
        );
    }
}
