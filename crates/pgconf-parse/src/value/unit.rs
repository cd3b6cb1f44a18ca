//! Units of memory and time.

/// The base unit of a setting, which applies to a number without a unit: the column `unit` of the
/// view `pg_settings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BaseUnit {
    /// A plain number, after which no unit is allowed.
    None,
    /// Bytes, `B`.
    Byte,
    /// Kilobytes, `kB`: `work_mem`.
    Kilobyte,
    /// Megabytes, `MB`: `max_wal_size`.
    Megabyte,
    /// Blocks of this many bytes, such as `8kB`: `shared_buffers`, `wal_buffers`.
    Block(u32),
    /// Milliseconds, `ms`: `statement_timeout`.
    Millisecond,
    /// Seconds, `s`: `checkpoint_timeout`.
    Second,
    /// Minutes, `min`: `log_rotation_age`.
    Minute,
}

impl BaseUnit {
    /// The size of the unit in bytes or microseconds.
    pub(crate) fn size(self) -> f64 {
        match self {
            Self::None | Self::Byte => 1.0,
            Self::Kilobyte => 1024.0,
            Self::Megabyte => 1024.0 * 1024.0,
            Self::Block(bytes) => bytes.max(1).into(),
            Self::Millisecond => 1e3,
            Self::Second => 1e6,
            Self::Minute => 60e6,
        }
    }

    /// The units that a value may have, with their sizes in bytes or microseconds.
    ///
    /// Source: `memory_unit_conversion_table` and `time_unit_conversion_table` in guc.c.
    pub(crate) fn table(self) -> &'static [(&'static str, f64)] {
        const MEMORY: &[(&str, f64)] = &[
            ("TB", 1024.0 * 1024.0 * 1024.0 * 1024.0),
            ("GB", 1024.0 * 1024.0 * 1024.0),
            ("MB", 1024.0 * 1024.0),
            ("kB", 1024.0),
            ("B", 1.0),
        ];
        const TIME: &[(&str, f64)] = &[
            ("d", 86_400e6),
            ("h", 3_600e6),
            ("min", 60e6),
            ("s", 1e6),
            ("ms", 1e3),
            ("us", 1.0),
        ];
        match self {
            Self::None => &[],
            Self::Byte | Self::Kilobyte | Self::Megabyte | Self::Block(_) => MEMORY,
            Self::Millisecond | Self::Second | Self::Minute => TIME,
        }
    }

    pub(crate) fn is_time(self) -> bool {
        matches!(self, Self::Millisecond | Self::Second | Self::Minute)
    }
}
