//! Decoding a type from a tree of nodes.

use super::{Node, Tree};
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

impl Node {
    /// The node as a value of `T`, or the path at which it does not fit and why.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, (Vec<String>, String)> {
        // Keeping track of the path takes longer than all else, and is seldom needed.
        if let Ok(value) = T::deserialize(self) {
            return Ok(value);
        }
        serde_path_to_error::deserialize(self).map_err(|error| {
            use serde_path_to_error::Segment;
            let step = |segment: &Segment| match segment {
                Segment::Seq { index } => Some(index.to_string()),
                Segment::Map { key } => Some(key.clone()),
                Segment::Enum { .. } | Segment::Unknown => None,
            };
            (error.path().iter().filter_map(step).collect(), error.inner().to_string())
        })
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.tree {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Number(number) => {
                number.deserialize_any(visitor).map_err(|error| Error::custom(error.to_string()))
            }
            Tree::Text(text) | Tree::Unknown(text) => visitor.visit_borrowed_str(text),
            Tree::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Tree::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.as_str(), &entry.node));
                visitor.visit_map(MapDeserializer::new(pairs))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.tree {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.tree {
            Tree::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => self
                .to_value()
                .deserialize_enum(name, variants, visitor)
                .map_err(|error| Error::custom(error.to_string())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
