//! Serialization of versions, requests, and names of programs and directories as text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::installation::InstallationDirectory;
use crate::major::MajorVersion;
use crate::parameter::ServerParameters;
use crate::pg_config::PgConfig;
use crate::program::Program;
use crate::request::Request;
use crate::version::Version;

macro_rules! as_text {
    ($($name:ident: $expected:literal),*) => {$(
        /// Serializes the value as text.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        /// Parses the value from text.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text { expected: $expected, value: PhantomData })
            }
        }
    )*};
}

as_text! {
    Version: "a version of PostgreSQL",
    MajorVersion: "a major version of PostgreSQL",
    Request: "a request for a version of PostgreSQL",
    Program: "the name of a program of PostgreSQL",
    InstallationDirectory: "the name of a directory of pg_config"
}

struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Reads a sequence of at least one parameter.
impl<'de> Deserialize<'de> for ServerParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parameters = Vec::deserialize(deserializer)?;
        Self::new(parameters).ok_or_else(|| de::Error::invalid_length(0, &"server parameters"))
    }
}

/// Serializes the UTF-8 values as a map.
impl Serialize for PgConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Reads a map of strings.
impl<'de> Deserialize<'de> for PgConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self::from_pairs(pairs))
    }
}
