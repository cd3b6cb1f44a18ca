//! Deserialization of structs from settings.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::document::text::Document;
use crate::include::configuration::Configuration;
use crate::syntax::assignment::{Assignment, NEWEST};
use crate::value::error::{ValueError, Wanted};
use crate::value::list::split_guc_list;
use crate::value::number;
use crate::value::unit::BaseUnit;

impl Document {
    /// Deserializes a struct or a map from the settings of this file (feature `serde`).
    ///
    /// Fields have the names of the settings in lower case. A setting with a dot in its name needs
    /// `#[serde(rename = "pg_stat_statements.max")]`.
    ///
    /// Values are read by the server's rules: booleans, plain numbers, words for enums without
    /// data, and lists as by [`split_guc_list`]. Every UTF-8 value can be read into a `String`.
    /// Numbers with units are text, because only the server knows the unit of a setting.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Settings {
    ///     port: u16,
    ///     fsync: Option<bool>,
    ///     work_mem: pgconf_parse::Memory,
    /// }
    ///
    /// let doc = Document::parse("Port = 5433\nwork_mem = 64MB\n");
    /// let settings: Settings = doc.deserialize()?;
    /// assert_eq!((settings.port, settings.fsync), (5433, None));
    /// assert_eq!(settings.work_mem.bytes(), 64 << 20);
    ///
    /// let wrong = Document::parse("\nport = many\nwork_mem = 1GB\n");
    /// let error = wrong.deserialize::<Settings>().err().unwrap();
    /// assert_eq!(error.to_string(), "line 2: setting `port`: `many` is not an integer");
    /// # Ok::<(), pgconf_parse::DeserializeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`DeserializeError`] if a value does not fit its field, or a field has no value.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, DeserializeError> {
        let settings = self
            .assignments()
            .filter(|found| found.directive().is_none());
        T::deserialize(Settings::new(settings.map(|assignment| Setting {
            assignment,
            file: None,
        })))
    }
}

impl Configuration {
    /// Deserializes a struct or a map from the settings in effect (feature `serde`), as
    /// [`Document::deserialize`] does.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::path::{Path, PathBuf};
    /// use pgconf_parse::Resolver;
    ///
    /// let text = b"port = 5432\nport = 5433\n".to_vec();
    /// let files = BTreeMap::from([(PathBuf::from("/data/postgresql.conf"), text)]);
    /// let read = Resolver::new().load(&files, Path::new("/data/postgresql.conf"))?;
    /// let settings: BTreeMap<String, String> = read.deserialize()?;
    /// assert_eq!(settings["port"], "5433");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`DeserializeError`] if a value does not fit its field, or a field has no value.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, DeserializeError> {
        T::deserialize(Settings::new(self.settings().map(|found| Setting {
            assignment: found.assignment(),
            file: Some(found.file()),
        })))
    }
}

#[derive(Clone, Copy)]
struct Setting<'a> {
    assignment: Assignment<'a>,
    file: Option<&'a Path>,
}

/// The settings by name in lower case, each once, in the order of their first assignment.
struct Settings<'a> {
    settings: std::vec::IntoIter<(String, Setting<'a>)>,
    current: Option<Setting<'a>>,
}

impl<'a> Settings<'a> {
    fn new(found: impl Iterator<Item = Setting<'a>>) -> Self {
        let mut settings: Vec<(String, Setting<'a>)> = Vec::new();
        let mut places = HashMap::new();
        for setting in found {
            let name = setting.assignment.name_lossy().to_ascii_lowercase();
            match places.get(&name) {
                Some(&place) => settings[place] = (name, setting),
                None => {
                    places.insert(name.clone(), settings.len());
                    settings.push((name, setting));
                }
            }
        }
        Self {
            settings: settings.into_iter(),
            current: None,
        }
    }
}

impl<'de> Deserializer<'de> for Settings<'_> {
    type Error = DeserializeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de> MapAccess<'de> for Settings<'_> {
    type Error = DeserializeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DeserializeError> {
        let Some((name, setting)) = self.settings.next() else {
            return Ok(None);
        };
        self.current = Some(setting);
        let key: StrDeserializer<'_, DeserializeError> = name.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.within(&setting))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DeserializeError> {
        let Some(setting) = self.current.take() else {
            return Err(DeserializeError::custom(
                "the value was requested before the key",
            ));
        };
        let value = Value(setting.assignment.value());
        seed.deserialize(value)
            .map_err(|error| error.within(&setting))
    }
}

/// The text of a value, or of one item of a list.
struct Value<'a>(Cow<'a, [u8]>);

impl Value<'_> {
    fn wanted(&self, wanted: Wanted) -> DeserializeError {
        DeserializeError::custom(ValueError::new(&self.0, wanted))
    }

    fn text(&self) -> Result<&str, DeserializeError> {
        std::str::from_utf8(&self.0).map_err(|_| {
            DeserializeError::custom(format_args!("`{}` is not UTF-8", self.0.escape_ascii()))
        })
    }

    fn whole_number<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DeserializeError> {
        /// The largest bound up to which a double represents every integer.
        const EXACT: f64 = (1u64 << 53) as f64;
        match number::parse_whole(&self.0, BaseUnit::None) {
            Ok(number) if number.abs() <= EXACT => visitor.visit_i64(number as i64),
            _ => Err(self.wanted(Wanted::WholeNumber)),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
            self.whole_number(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = DeserializeError;

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => visitor.visit_str(text),
            Err(_) => visitor.visit_bytes(&self.0),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        visitor.visit_bytes(&self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        visitor.visit_byte_buf(self.0.into_owned())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        match number::parse_bool(&self.0) {
            Some(value) => visitor.visit_bool(value),
            None => Err(self.wanted(Wanted::Boolean)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        match number::parse_real(&self.0, BaseUnit::None, NEWEST) {
            Ok(number) => visitor.visit_f64(number),
            Err(_) => Err(self.wanted(Wanted::Real)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        // Case is ignored, as in `config_enum_lookup_by_name`.
        let text = self.text()?;
        let variant = variants
            .iter()
            .find(|variant| variant.eq_ignore_ascii_case(text));
        match variant {
            Some(variant) => visitor.visit_enum((*variant).into_deserializer()),
            None => Err(DeserializeError::unknown_variant(text, variants)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        let items = split_guc_list(self.text()?).map_err(DeserializeError::custom)?;
        visitor.visit_seq(Items(items.into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        self.deserialize_seq(visitor)
    }

    forward_to_deserialize_any! { char unit unit_struct map struct identifier ignored_any }
}

struct Items(std::vec::IntoIter<String>);

impl<'de> SeqAccess<'de> for Items {
    type Error = DeserializeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DeserializeError> {
        let item = self.0.next();
        item.map(|item| seed.deserialize(Value(Cow::Owned(item.into_bytes()))))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The error of deserialization: a value does not fit its field, or a field has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeserializeError {
    message: String,
    setting: Option<Box<Found>>,
}

/// The place of the setting in question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    name: String,
    line: usize,
    file: Option<PathBuf>,
}

impl DeserializeError {
    fn within(mut self, setting: &Setting<'_>) -> Self {
        self.setting.get_or_insert_with(|| {
            Box::new(Found {
                name: setting.assignment.name_lossy().into_owned(),
                line: setting.assignment.line(),
                file: setting.file.map(Path::to_path_buf),
            })
        });
        self
    }

    /// The name of the setting in question. `None` if a setting is missing.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.setting.as_ref().map(|found| found.name.as_str())
    }

    /// The line number of the setting, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.setting.as_ref().map(|found| found.line)
    }

    /// The file of the setting. `None` for a [`Document`], which has no path.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.setting
            .as_ref()
            .and_then(|found| found.file.as_deref())
    }
}

impl de::Error for DeserializeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            setting: None,
        }
    }
}

impl fmt::Display for DeserializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(found) = &self.setting {
            if let Some(file) = &found.file {
                write!(f, "{}: ", file.display())?;
            }
            write!(f, "line {}: setting `{}`: ", found.line, found.name)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeserializeError {}
