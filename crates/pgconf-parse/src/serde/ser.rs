//! Serializing structs and maps to settings, and settings to any format.

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

/// The settings that a map or a struct holds (feature `serde`), for [`Document::update`].
///
/// Booleans become `on` and `off`, numbers and text themselves, enums without data their names,
/// sequences of text lists as by [`join_guc_list`]. What is `None` is left out.
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
/// Fails with [`SerializeError`] if the value is not a map or a struct, if a key is not the name of
/// a setting, or if a value has a type that no setting has.
pub fn to_settings<T: Serialize + ?Sized>(
    settings: &T,
) -> Result<Vec<(SettingName, Value)>, SerializeError> {
    settings.serialize(Top)
}

/// A map of names to values, each setting once, directives left out. Values that are not UTF-8 are
/// an error.
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

/// From a map of names to values: a line for each, in the order of the map.
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

/// A map of the names and values in effect. Values that are not UTF-8 are an error.
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

/// As it is written in a file: `128MB`.
impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Value::from(*self).to_str_lossy())
    }
}

/// From text with a unit, as it is written in a file; a bare number would be in a unit that only
/// the server knows.
impl<'de> serde::Deserialize<'de> for Memory {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

type Settings = Vec<(SettingName, Value)>;
type Never<Ok> = Impossible<Ok, SerializeError>;

/// Takes the map or struct.
struct Top;

macro_rules! refuse {
    ($ok:ty, $problem:expr; $($method:ident($($argument:ty),*))*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, SerializeError> {
            Err(SerializeError::custom($problem))
        })*
    };
}

/// What neither settings nor a value can be.
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

const NO_MAP: &str = "settings are given by a map or a struct";

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
            .ok_or_else(|| SerializeError::custom("a key is none"))?;
        self.key = Some(SettingName::new(key.as_bytes()).map_err(SerializeError::custom)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        match self.key.take() {
            Some(name) => self.take(name, value),
            None => Err(SerializeError::custom("a value came before its key")),
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

/// Takes one value; `None` if there is none.
struct One;

const NO_VALUE: &str = "no setting has values of this type";

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

/// Takes the items of a list.
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

/// Something that cannot be settings.
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

    /// The setting whose value is at fault; `None` if it is a key, or the whole.
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
