//! Typed readings of values, by the server's rules.

use std::str::FromStr;
use std::time::Duration;

use crate::syntax::assignment::Assignment;
use crate::value::error::{ValueError, Wanted};
use crate::value::number::{parse_bool, parse_int, parse_real, parse_whole};
use crate::value::unit::BaseUnit;
use crate::value::words;
use crate::value::written::Memory;

/// Typed readings by the rules of the newest server, or of the major version given to
/// [`for_major`](Assignment::for_major).
impl Assignment<'_> {
    /// Reads a boolean: `on`, `off`, `true`, `false`, `yes`, `no`, `1` or `0`. Case is ignored, and
    /// unique prefixes are accepted.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("fsync = ON\nssl = f\nautovacuum = o\n");
    /// assert_eq!(doc.get("fsync").unwrap().to_bool(), Ok(true));
    /// assert_eq!(doc.get("ssl").unwrap().to_bool(), Ok(false));
    /// let error = doc.get("autovacuum").unwrap().to_bool().unwrap_err();
    /// assert_eq!(error.to_string(), "`o` is not a boolean");
    /// ```
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

    /// Reads an integer and converts it to the base unit of the setting.
    ///
    /// The number is decimal, octal after `0`, or hexadecimal after `0x`. A number with a fraction
    /// or an exponent is rounded. A unit may follow if the setting has one.
    ///
    /// PostgreSQL 10 and 11 accept neither fractions nor exponents nor the unit `us`, and truncate:
    /// `1500ms` is one second before 12, and two seconds since. The unit `B` was added in 11.
    ///
    /// Source: `parse_int` and `convert_to_base_unit` in guc.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is not a number, has an invalid unit, or does not fit
    /// 32 bits. The range of the setting is not checked.
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

    /// Reads a floating-point number and converts it to the base unit of the setting.
    ///
    /// ```
    /// use pgconf_parse::{BaseUnit, Document};
    ///
    /// let doc = Document::parse("random_page_cost = 1.1\nautovacuum_vacuum_cost_delay = 500us\n");
    /// assert_eq!(doc.get("random_page_cost").unwrap().to_real(BaseUnit::None)?, 1.1);
    /// let delay = doc.get("autovacuum_vacuum_cost_delay").unwrap();
    /// assert_eq!(delay.to_real(BaseUnit::Millisecond)?, 0.5);
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    ///
    /// Source: `parse_real` in guc.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is not a number or has an invalid unit.
    pub fn to_real(&self, unit: BaseUnit) -> Result<f64, ValueError> {
        let value = self.value();
        parse_real(&value, unit, self.major()).map_err(|wanted| ValueError::new(&value, wanted))
    }

    /// Reads an amount of memory from an integer setting with that base unit.
    ///
    /// # Errors
    ///
    /// Fails as [`to_int`](Self::to_int) does. Also fails if `unit` is not a unit of memory, or if
    /// the value is negative, which has a special meaning in most settings.
    pub fn to_memory(&self, unit: BaseUnit) -> Result<Memory, ValueError> {
        match u64::try_from(self.to_int(unit)?) {
            Ok(amount) if !unit.is_time() => Ok(Memory::from_bytes(amount * unit.size() as u64)),
            _ => Err(ValueError::new(&self.value(), Wanted::Memory)),
        }
    }

    /// Reads a duration from an integer setting with that base unit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pgconf_parse::{BaseUnit, Document};
    ///
    /// let doc = Document::parse("checkpoint_timeout = 5min\nstatement_timeout = 1500\n");
    /// let timeout = doc.get("checkpoint_timeout").unwrap();
    /// assert_eq!(timeout.to_duration(BaseUnit::Second)?, Duration::from_secs(300));
    /// let timeout = doc.get("statement_timeout").unwrap();
    /// assert_eq!(timeout.to_duration(BaseUnit::Millisecond)?, Duration::from_millis(1500));
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`to_int`](Self::to_int) does. Also fails if `unit` is not a unit of time, or if
    /// the value is negative, which has a special meaning in most settings.
    pub fn to_duration(&self, unit: BaseUnit) -> Result<Duration, ValueError> {
        match u64::try_from(self.to_int(unit)?) {
            Ok(amount) if unit.is_time() => Ok(Duration::from_micros(amount * unit.size() as u64)),
            _ => Err(ValueError::new(&self.value(), Wanted::Duration)),
        }
    }

    /// Reads the value of an enum setting. `words` lists its values, which are compared without
    /// regard to ASCII case.
    ///
    /// If `words` are those of `pg_settings.enumvals`, this function accepts the same values as the
    /// server, including hidden ones:
    ///
    /// * `true`, `yes` and `1` for `on`, and `false`, `no` and `0` for `off`,
    /// * `debug` for `debug2`,
    /// * `archive` and `hot_standby` for the `replica` of `wal_level`,
    /// * before PostgreSQL 14, `on` and its synonyms for the `md5` of `password_encryption`.
    ///
    /// A hidden value without a listed synonym is read as the nearest value: `info` as `notice`,
    /// and before 12 `fatal` and `panic` as `error`.
    ///
    /// Source: `config_enum_lookup_by_name` in guc.c.
    ///
    /// # Errors
    ///
    /// Fails with [`ValueError`] if the value is not one of these.
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

/// Parses text with a unit, such as `128MB` or `1.5 GB`. A number without a unit is rejected,
/// because only the server knows its unit; `0` is accepted.
impl FromStr for Memory {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let has_unit = text
            .trim_end()
            .ends_with(|last: char| last.is_ascii_alphabetic());
        match parse_whole(text.as_bytes(), BaseUnit::Byte) {
            // The upper bound is 2^64. Zero needs no unit.
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
