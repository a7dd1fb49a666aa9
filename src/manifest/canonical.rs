//! JSON in canonical form, made while it is read: a document from outside never stands in memory as values,
//! which may take a hundred times its own length. It knows no field by name.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;

/// The outermost object, whose field `without` is left out.
pub(super) struct Top<'a> {
    pub(super) without: &'a str,
}

/// Any value; its canonical form goes to the end of what it holds.
struct Piece<'a>(&'a mut Vec<u8>);

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<u8>, A::Error> {
        let mut target = Vec::new();
        object(map, Some(self.without), &mut target)?;
        Ok(target)
    }
}

/// Writes an object with its keys in byte order; of a key that stands twice the last value counts.
fn object<'de, A: MapAccess<'de>>(
    mut map: A,
    without: Option<&str>,
    target: &mut Vec<u8>,
) -> Result<(), A::Error> {
    let mut fields: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(key) = map.next_key::<String>()? {
        let mut value = Vec::new();
        map.next_value_seed(Piece(&mut value))?;
        value.shrink_to_fit();
        fields.insert(key, value);
    }
    target.push(b'{');
    let mut is_first = true;
    for (key, value) in fields.iter().filter(|(key, _)| Some(key.as_str()) != without) {
        if !std::mem::take(&mut is_first) {
            target.push(b',');
        }
        write(key, target)?;
        target.push(b':');
        target.extend_from_slice(value);
    }
    target.push(b'}');
    Ok(())
}

fn write<E: serde::de::Error>(value: impl Serialize, target: &mut Vec<u8>) -> Result<(), E> {
    serde_json::to_writer(target, &value).map_err(E::custom)
}

impl<'de> DeserializeSeed<'de> for Piece<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Piece<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        write((), self.0)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        write(value, self.0)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        write(value, self.0)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        write(value, self.0)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        write(value, self.0)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        write(value, self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let start = self.0.len();
        loop {
            let before = self.0.len();
            if before > start {
                self.0.push(b',');
            }
            if items.next_element_seed(Piece(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
        }
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        object(map, None, self.0)
    }
}
