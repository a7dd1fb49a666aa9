//! What a statement about roles or tablespaces says, and the SQL that says it: made from what was understood, never from
//! what was read. It asks no server.

use super::lexer::Name;
use super::secret::{is_secret, speaks_of_secrets};

/// What stands in place of a password.
const HIDDEN: &str = "'(hidden)'";

/// What is said of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `LOGIN`, `NOLOGIN` and the like.
    Is(&'static str),
    /// How many may be connected at once; -1 is any number.
    ConnectionLimit(i32),
    /// The password, or its hash.
    Password(String),
    /// A moment.
    ValidUntil(String),
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOption {
    /// Take in others.
    Admin,
    /// Whether it has the role's rights.
    Inherit(bool),
    /// Whether it may become the role.
    Set(bool),
}

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A role.
    Role,
    /// A tablespace.
    Tablespace,
    /// A setting of the server.
    Parameter,
}

impl Object {
    fn as_str(self) -> &'static str {
        match self {
            Self::Role => "ROLE",
            Self::Tablespace => "TABLESPACE",
            Self::Parameter => "PARAMETER",
        }
    }
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Of the session that it runs in, which is made what it has to be anyway.
    Session,
    /// Who grants from here on; none is the one that connects.
    Authorization(Option<Name>),
    /// That there is a role.
    NewRole(Name),
    /// What a role is.
    Attributes {
        /// The role.
        role: Name,
        /// In the order of the script.
        attributes: Vec<Attribute>,
    },
    /// What a setting is in the sessions of a role.
    RoleSetting {
        /// The role.
        role: Name,
        /// In this database alone.
        database: Option<Name>,
        /// The setting.
        name: Name,
        /// Its value, or the parts of a list.
        values: Vec<String>,
    },
    /// What a setting is in everybody's sessions, which `pg_dumpall` leaves out.
    EverybodysSetting {
        /// The setting.
        name: Name,
        /// Its value, or the parts of a list.
        values: Vec<String>,
    },
    /// That a role is a member of another.
    Membership {
        /// The role that has members.
        of: Name,
        /// The member.
        member: Name,
        /// What it may do.
        options: Vec<MemberOption>,
        /// Who granted it.
        by: Option<Name>,
    },
    /// That there is a tablespace.
    NewTablespace {
        /// Its name.
        name: Name,
        /// Its owner.
        owner: Name,
        /// Its folder on the server.
        location: String,
    },
    /// How a tablespace is used.
    TablespaceOptions {
        /// The tablespace.
        name: Name,
        /// Each with its number.
        options: Vec<(Name, String)>,
    },
    /// A comment, or a label.
    Said {
        /// Of what.
        on: Object,
        /// Its name.
        name: Name,
        /// Whose label it is, if it is one.
        label_of: Option<Name>,
        /// What it says.
        text: String,
    },
    /// A right on a tablespace or a parameter.
    Right {
        /// Whether it is given; otherwise it is taken.
        is_grant: bool,
        /// The rights.
        rights: Vec<&'static str>,
        /// On what.
        on: Object,
        /// Its name.
        name: Name,
        /// Whose it is; none is everybody.
        to: Option<Name>,
        /// Whether it may be passed on.
        may_grant: bool,
    },
    /// Nothing that `pg_dumpall` writes there; the keywords that it begins with.
    Unknown(String),
}

/// For whom SQL is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// For a server: each name is quoted, and passwords are left out, since they go another way.
    Server,
    /// For a person: nothing that [`is_secret`] is seen.
    Person,
    /// To compare: all of it.
    Comparison,
}

/// A string, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

impl For {
    fn name(self, name: &Name) -> String {
        if self == Self::Server || name.is_quoted {
            format!("\"{}\"", name.text.replace('"', "\"\""))
        } else {
            name.text.clone()
        }
    }

    /// A string that may be a secret.
    fn open(self, text: &str) -> String {
        if self == Self::Person && speaks_of_secrets(text) { HIDDEN.to_owned() } else { literal(text) }
    }

    fn values(self, name: &Name, values: &[String]) -> String {
        let shown = if values.is_empty() {
            "NULL".to_owned()
        } else {
            values.iter().map(|value| literal(value)).collect::<Vec<_>>().join(", ")
        };
        if self == Self::Person && is_secret(&name.text, &shown) { HIDDEN.to_owned() } else { shown }
    }

    fn attribute(self, attribute: &Attribute) -> Option<String> {
        match attribute {
            Attribute::Is(word) => Some((*word).to_owned()),
            Attribute::ConnectionLimit(limit) => Some(format!("CONNECTION LIMIT {limit}")),
            Attribute::Password(password) => match self {
                Self::Server => None,
                Self::Person => Some(format!("PASSWORD {HIDDEN}")),
                Self::Comparison => Some(format!("PASSWORD {}", literal(password))),
            },
            Attribute::ValidUntil(until) => Some(format!("VALID UNTIL {}", literal(until))),
        }
    }
}

impl Deed {
    /// The statement, without a semicolon; empty for what is none.
    #[must_use]
    pub fn sql(&self, reader: For) -> String {
        let id = |name: &Name| reader.name(name);
        match self {
            Self::Session | Self::Unknown(_) => String::new(),
            Self::Authorization(None) => "RESET SESSION AUTHORIZATION".to_owned(),
            Self::Authorization(Some(name)) => format!("SET SESSION AUTHORIZATION {}", id(name)),
            Self::NewRole(name) => format!("CREATE ROLE {}", id(name)),
            Self::Attributes { role, attributes } => {
                let said: Vec<String> = attributes.iter().filter_map(|it| reader.attribute(it)).collect();
                format!("ALTER ROLE {} WITH {}", id(role), said.join(" ")).trim_end().to_owned()
            }
            Self::RoleSetting { role, database, name, values } => {
                let place = database.as_ref().map(|it| format!(" IN DATABASE {}", id(it)));
                let (place, values) = (place.unwrap_or_default(), reader.values(name, values));
                format!("ALTER ROLE {}{place} SET {} TO {values}", id(role), id(name))
            }
            Self::EverybodysSetting { name, values } => {
                format!("ALTER ROLE ALL SET {} TO {}", id(name), reader.values(name, values))
            }
            Self::Membership { of, member, .. } => {
                let terms = self.terms(reader);
                format!("GRANT {} TO {} {terms}", id(of), id(member)).trim_end().to_owned()
            }
            Self::NewTablespace { name, .. } => {
                format!("CREATE TABLESPACE {} {}", id(name), self.terms(reader))
            }
            Self::TablespaceOptions { name, options } => {
                let options: Vec<String> =
                    options.iter().map(|(option, value)| format!("{}={value}", id(option))).collect();
                format!("ALTER TABLESPACE {} SET ({})", id(name), options.join(", "))
            }
            Self::Said { on, name, label_of, text } => {
                let head = label_of.as_ref().map(|provider| format!("SECURITY LABEL FOR {}", id(provider)));
                let head = head.unwrap_or_else(|| "COMMENT".to_owned());
                format!("{head} ON {} {} IS {}", on.as_str(), id(name), reader.open(text))
            }
            Self::Right { is_grant, rights, on, name, to, may_grant } => {
                let (verb, to_or_from) = if *is_grant { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
                let whom = to.as_ref().map_or_else(|| "PUBLIC".to_owned(), id);
                let end = if *may_grant { " WITH GRANT OPTION" } else { "" };
                let (rights, on) = (rights.join(", "), on.as_str());
                format!("{verb} {rights} ON {on} {} {to_or_from} {whom}{end}", id(name))
            }
        }
    }

    /// How a role is a member, what a tablespace is, what a setting is; empty for all else.
    #[must_use]
    pub fn terms(&self, reader: For) -> String {
        match self {
            Self::Membership { options, by, .. } => {
                let words = options.iter().map(|option| match option {
                    MemberOption::Admin => "ADMIN OPTION",
                    MemberOption::Inherit(true) => "INHERIT TRUE",
                    MemberOption::Inherit(false) => "INHERIT FALSE",
                    MemberOption::Set(true) => "SET TRUE",
                    MemberOption::Set(false) => "SET FALSE",
                });
                let words = words.collect::<Vec<_>>().join(", ");
                let with = if words.is_empty() { words } else { format!("WITH {words}") };
                let by = by.as_ref().map(|by| format!(" GRANTED BY {}", reader.name(by)));
                format!("{with}{}", by.unwrap_or_default()).trim_start().to_owned()
            }
            Self::NewTablespace { owner, location, .. } => {
                format!("OWNER {} LOCATION {}", reader.name(owner), reader.open(location))
            }
            Self::RoleSetting { name, values, .. } => reader.values(name, values),
            _ => String::new(),
        }
    }

    /// The role whose password it sets, and the password or its hash.
    #[must_use]
    pub fn password(&self) -> Option<(&str, &str)> {
        let Self::Attributes { role, attributes } = self else { return None };
        attributes.iter().find_map(|attribute| match attribute {
            Attribute::Password(password) => Some((role.text.as_str(), password.as_str())),
            _ => None,
        })
    }
}
