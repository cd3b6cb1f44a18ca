//! Typed readings of values, by the server's own rules.

use std::str::FromStr;
use std::time::Duration;

use crate::syntax::assignment::Assignment;
use crate::value::error::{ValueError, Wanted};
use crate::value::number::{parse_bool, parse_int, parse_real, parse_whole};
use crate::value::unit::BaseUnit;
use crate::value::words;
use crate::value::written::Memory;

/// Typed readings, by the rules of the newest server, or of that of
/// [`for_major`](Assignment::for_major).
impl Assignment<'_> {
    /// A boolean: `on`, `off`, `true`, `false`, `yes`, `no`, any beginning of these that is not
    /// the beginning of another, in upper or lower case; `1` or `0`.
    ///
    /// Source: `parse_bool` in src/backend/utils/adt/bool.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is none of these.
    pub fn to_bool(&self) -> Result<bool, ValueError> {
        let value = self.value();
        parse_bool(&value).ok_or_else(|| ValueError::new(&value, Wanted::Boolean))
    }

    /// An integer, in the unit that the setting counts in: decimal, octal after `0` or
    /// hexadecimal after `0x`, or with a fraction or an exponent, then rounded; followed by a
    /// unit if the setting has one.
    ///
    /// Before PostgreSQL 12 there are no fractions, exponents and `us`, and what is left of a unit
    /// is cut off: `1500ms` is one second, since then two. `B` came with 11.
    ///
    /// Source: `parse_int` and `convert_to_base_unit` in guc.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is not a number, has another unit, or does not fit 32
    /// bits. The range of the particular setting is not checked.
    ///
    /// ```
    /// use pgconf_parse::{BaseUnit, Document};
    ///
    /// let doc = Document::parse("shared_buffers = '0.5 GB'\nunix_socket_permissions = 0770\n");
    /// let buffers = doc.get("shared_buffers").unwrap();
    /// assert_eq!(buffers.to_int(BaseUnit::Block(8192))?, 65536);
    /// assert_eq!(buffers.to_memory(BaseUnit::Block(8192))?.bytes(), 512 << 20);
    /// assert_eq!(doc.get("unix_socket_permissions").unwrap().to_int(BaseUnit::None)?, 0o770);
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    pub fn to_int(&self, unit: BaseUnit) -> Result<i32, ValueError> {
        let value = self.value();
        parse_int(&value, unit, self.major()).map_err(|wanted| ValueError::new(&value, wanted))
    }

    /// A number with a fraction, in the unit that the setting counts in, if it has one.
    ///
    /// Source: `parse_real` in guc.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is not a number or has another unit.
    pub fn to_real(&self, unit: BaseUnit) -> Result<f64, ValueError> {
        let value = self.value();
        parse_real(&value, unit, self.major()).map_err(|wanted| ValueError::new(&value, wanted))
    }

    /// The amount of memory that an integer setting of that unit stands for.
    ///
    /// # Errors
    ///
    /// Fails as [`to_int`](Self::to_int) does, if the value is negative, which with most settings
    /// has a meaning of its own, or if `unit` is not a unit of memory.
    pub fn to_memory(&self, unit: BaseUnit) -> Result<Memory, ValueError> {
        match u64::try_from(self.to_int(unit)?) {
            Ok(amount) if !unit.is_time() => Ok(Memory::from_bytes(amount * unit.size() as u64)),
            _ => Err(ValueError::new(&self.value(), Wanted::Memory)),
        }
    }

    /// The time that an integer setting of that unit stands for.
    ///
    /// # Errors
    ///
    /// Fails as [`to_int`](Self::to_int) does, if the value is negative, which with most settings
    /// has a meaning of its own, or if `unit` is not a unit of time.
    pub fn to_duration(&self, unit: BaseUnit) -> Result<Duration, ValueError> {
        match u64::try_from(self.to_int(unit)?) {
            Ok(amount) if unit.is_time() => Ok(Duration::from_micros(amount * unit.size() as u64)),
            _ => Err(ValueError::new(&self.value(), Wanted::Duration)),
        }
    }

    /// One of several words, compared without regard to ASCII case.
    ///
    /// With the words that `pg_settings.enumvals` lists, this takes what the server takes, also the
    /// words that it hides: `true`, `yes` and `1` for `on` and their opposites where the list has
    /// `on` and `off`; `debug` for `debug2`; `archive` and `hot_standby` for the `replica` of
    /// `wal_level`; before PostgreSQL 14 `on` for `md5`. A hidden word without a listed one of the
    /// same meaning is read as the nearest: `info` as `notice`, and before 12 `fatal` and `panic`
    /// as `error`.
    ///
    /// Source: `config_enum_lookup_by_name` in guc.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is none of them.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("wal_level = Logical\nhuge_pages = yes\n");
    /// let levels = [("minimal", 0), ("replica", 1), ("logical", 2)];
    /// assert_eq!(doc.get("wal_level").unwrap().to_enum(&levels)?, 2);
    /// let choices = [("off", false), ("on", true), ("try", true)];
    /// assert_eq!(doc.get("huge_pages").unwrap().to_enum(&choices)?, true);
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    pub fn to_enum<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ValueError> {
        let value = self.value();
        let listed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let meant = words::meant(&value, &listed, self.major());
        let found = words.iter().find(|(word, _)| Some(*word) == meant);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words = listed.into_iter().map(Into::into).collect();
            ValueError::new(&value, Wanted::Word(words))
        })
    }
}

/// From text with a unit: `128MB`, `1.5 GB`; a bare number would be in a unit that only the server
/// knows.
impl FromStr for Memory {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let has_unit = text
            .trim_end()
            .ends_with(|last: char| last.is_ascii_alphabetic());
        match parse_whole(text.as_bytes(), BaseUnit::Byte) {
            // 2^64, which is the first that does not fit.
            // Nothing is the same in every unit.
            Ok(bytes)
                if (has_unit || bytes == 0.0)
                    && (0.0..18_446_744_073_709_551_616.0).contains(&bytes) =>
            {
                Ok(Self::from_bytes(bytes as u64))
            }
            _ => Err(ValueError::new(text.as_bytes(), Wanted::Memory)),
        }
    }
}
