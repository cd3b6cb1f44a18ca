//! Serialization of structs and maps to settings, and of settings to other formats.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{
    self, Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct,
    SerializeTuple, SerializeTupleStruct, Serializer,
};

use crate::document::text::Document;
use crate::include::configuration::Configuration;
use crate::syntax::name::SettingName;
use crate::value::list::join_guc_list;
use crate::value::written::{Memory, Value};

/// Converts a map or a struct to settings for [`Document::update`] (feature `serde`).
///
/// Booleans become `on` and `off`. Numbers and text are written as they are, and enums without
/// data by name. Sequences become lists, as by [`join_guc_list`]. Fields that are `None` are
/// omitted.
///
/// ```
/// use pgconf_parse::{Document, to_settings};
///
/// #[derive(serde::Serialize)]
/// struct Settings {
///     port: u16,
///     fsync: bool,
///     listen_addresses: Vec<&'static str>,
///     work_mem: Option<String>,
/// }
///
/// let mut doc = Document::parse("#port = 5432\n");
/// doc.update(to_settings(&Settings {
///     port: 5433,
///     fsync: false,
///     listen_addresses: vec!["127.0.0.1", "::1"],
///     work_mem: None,
/// })?)?;
/// assert_eq!(doc.to_string(), "port = 5433\nfsync = off\nlisten_addresses = '127.0.0.1, ::1'\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails with [`SerializeError`] if:
///
/// * the value is not a map or a struct,
/// * a key is not a valid setting name, or
/// * a setting cannot have a value of that type.
pub fn to_settings<T: Serialize + ?Sized>(
    settings: &T,
) -> Result<Vec<(SettingName, Value)>, SerializeError> {
    settings.serialize(Top)
}

/// A map of names to values. Each setting occurs once, and directives are omitted. Fails if a value
/// is not UTF-8.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut settings: Vec<_> = self
            .assignments()
            .filter(|found| found.directive().is_none())
            .collect();
        let mut seen = std::collections::HashSet::new();
        settings.reverse();
        settings.retain(|found| seen.insert(found.name().to_ascii_lowercase()));
        settings.reverse();
        serializer.collect_map(
            settings
                .iter()
                .map(|found| (Text(found.name()), found.value()))
                .map(|(name, value)| (name, OwnedText(value.into_owned()))),
        )
    }
}

/// Reads a map of names to values, and adds a line for each, in the order of the map.
impl<'de> serde::Deserialize<'de> for Document {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Lines)
    }
}

struct Lines;

impl<'de> Visitor<'de> for Lines {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names to values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        document.edit(|session| {
            while let Some((name, value)) = map.next_entry::<SettingName, String>()? {
                session
                    .set(name, value)
                    .map_err(|error| A::Error::custom(error.kind()))?;
            }
            Ok(())
        })?;
        Ok(document)
    }
}

/// A map of the names and values in effect. Fails if a value is not UTF-8.
impl Serialize for Configuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings: Vec<_> = self.settings().collect();
        serializer.collect_map(
            settings
                .iter()
                .map(|found| (Text(found.name()), OwnedText(found.value().into_owned()))),
        )
    }
}

struct Text<'a>(&'a [u8]);

struct OwnedText(Vec<u8>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Err(S::Error::custom(format_args!(
                "`{}` is not UTF-8",
                self.0.escape_ascii()
            ))),
        }
    }
}

impl Serialize for OwnedText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text(&self.0).serialize(serializer)
    }
}

impl Serialize for SettingName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text(self.as_bytes()).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for SettingName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::new(name.as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// The form in a configuration file: `128MB`.
impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Value::from(*self).to_str_lossy())
    }
}

/// Reads text with a unit, as in a configuration file. A number without a unit is rejected, because
/// only the server knows its unit.
impl<'de> serde::Deserialize<'de> for Memory {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

type Settings = Vec<(SettingName, Value)>;
type Never<Ok> = Impossible<Ok, SerializeError>;

/// Serializes the map or struct.
struct Top;

macro_rules! refuse {
    ($ok:ty, $problem:expr; $($method:ident($($argument:ty),*))*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, SerializeError> {
            Err(SerializeError::custom($problem))
        })*
    };
}

/// Rejects the types that are neither settings nor values.
macro_rules! refuse_data_variants {
    ($ok:ty, $problem:expr) => {
        refuse! { $ok, $problem; serialize_unit_struct(&'static str) }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<$ok, SerializeError> {
            Err(SerializeError::custom($problem))
        }

        refuse! { Never<$ok>, $problem;
            serialize_tuple_variant(&'static str, u32, &'static str, usize)
            serialize_struct_variant(&'static str, u32, &'static str, usize)
        }
    };
}

const NO_MAP: &str = "settings must be a map or a struct";

impl Serializer for Top {
    type Ok = Settings;
    type Error = SerializeError;
    type SerializeMap = Collect;
    type SerializeStruct = Collect;
    type SerializeSeq = Never<Settings>;
    type SerializeTuple = Never<Settings>;
    type SerializeTupleStruct = Never<Settings>;
    type SerializeTupleVariant = Never<Settings>;
    type SerializeStructVariant = Never<Settings>;

    refuse! { Settings, NO_MAP;
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32)
        serialize_u64(u64) serialize_f32(f32) serialize_f64(f64) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_none() serialize_unit()
        serialize_unit_variant(&'static str, u32, &'static str)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Collect, SerializeError> {
        Ok(Collect {
            settings: Vec::new(),
            key: None,
        })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Collect, SerializeError> {
        self.serialize_map(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Settings, SerializeError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Settings, SerializeError> {
        value.serialize(self)
    }

    refuse! { Never<Settings>, NO_MAP;
        serialize_seq(Option<usize>) serialize_tuple(usize)
        serialize_tuple_struct(&'static str, usize)
    }

    refuse_data_variants! { Settings, NO_MAP }
}

struct Collect {
    settings: Settings,
    key: Option<SettingName>,
}

impl Collect {
    fn take<T: Serialize + ?Sized>(
        &mut self,
        name: SettingName,
        value: &T,
    ) -> Result<(), SerializeError> {
        let value = value.serialize(One).map_err(|error| error.within(&name))?;
        self.settings.extend(value.map(|value| (name, value)));
        Ok(())
    }
}

impl SerializeMap for Collect {
    type Ok = Settings;
    type Error = SerializeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerializeError> {
        let key = key
            .serialize(One)?
            .ok_or_else(|| SerializeError::custom("a key is `None`"))?;
        self.key = Some(SettingName::new(key.as_bytes()).map_err(SerializeError::custom)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        match self.key.take() {
            Some(name) => self.take(name, value),
            None => Err(SerializeError::custom(
                "a value was serialized before its key",
            )),
        }
    }

    fn end(self) -> Result<Settings, SerializeError> {
        Ok(self.settings)
    }
}

impl SerializeStruct for Collect {
    type Ok = Settings;
    type Error = SerializeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), SerializeError> {
        self.take(
            SettingName::new(key).map_err(SerializeError::custom)?,
            value,
        )
    }

    fn end(self) -> Result<Settings, SerializeError> {
        Ok(self.settings)
    }
}

/// Serializes one value. The result is `None` if there is no value.
struct One;

const NO_VALUE: &str = "a setting cannot have a value of this type";

macro_rules! values {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, value: $type) -> Result<Option<Value>, SerializeError> {
            Ok(Some(Value::from(value)))
        })*
    };
}

impl Serializer for One {
    type Ok = Option<Value>;
    type Error = SerializeError;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = Never<Option<Value>>;
    type SerializeMap = Never<Option<Value>>;
    type SerializeStruct = Never<Option<Value>>;
    type SerializeStructVariant = Never<Option<Value>>;

    values! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32)
        serialize_u64(u64) serialize_f32(f32) serialize_f64(f64) serialize_str(&str)
        serialize_bytes(&[u8])
    }

    fn serialize_char(self, value: char) -> Result<Option<Value>, SerializeError> {
        Ok(Some(value.to_string().into()))
    }

    fn serialize_none(self) -> Result<Option<Value>, SerializeError> {
        Ok(None)
    }

    fn serialize_unit(self) -> Result<Option<Value>, SerializeError> {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(
        self,
        value: &T,
    ) -> Result<Option<Value>, SerializeError> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Option<Value>, SerializeError> {
        Ok(Some(variant.into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Option<Value>, SerializeError> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, SerializeError> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<List, SerializeError> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, SerializeError> {
        Ok(List(Vec::new()))
    }

    refuse! { Never<Option<Value>>, NO_VALUE;
        serialize_map(Option<usize>) serialize_struct(&'static str, usize)
    }

    refuse_data_variants! { Option<Value>, NO_VALUE }
}

/// Serializes the items of a list.
struct List(Vec<String>);

impl List {
    fn take<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), SerializeError> {
        self.0.extend(
            item.serialize(One)?
                .map(|item| item.to_str_lossy().into_owned()),
        );
        Ok(())
    }

    fn join(self) -> Option<Value> {
        Some(join_guc_list(self.0).into())
    }
}

macro_rules! list {
    ($($interface:ident $method:ident;)*) => {
        $(impl $interface for List {
            type Ok = Option<Value>;
            type Error = SerializeError;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), SerializeError> {
                self.take(item)
            }

            fn end(self) -> Result<Option<Value>, SerializeError> {
                Ok(self.join())
            }
        })*
    };
}

list! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
}

/// The error of [`to_settings`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerializeError {
    message: String,
    setting: Option<Box<str>>,
}

impl SerializeError {
    fn within(mut self, name: &SettingName) -> Self {
        self.setting
            .get_or_insert_with(|| name.to_str_lossy().into());
        self
    }

    /// The setting whose value caused the error. `None` if a key or the whole value caused it.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.setting.as_deref()
    }
}

impl ser::Error for SerializeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            setting: None,
        }
    }
}

impl fmt::Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.setting {
            write!(f, "setting `{name}`: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SerializeError {}
