//! The shape of every error here: a struct with the circumstances, and a kind with the cause.

/// Prints an error as its closure says, which includes the kind, and hands out the cause *below*
/// the kind, so that a chain of errors says nothing twice.
macro_rules! error_with_kind {
    ($error:ty, |$e:ident, $f:ident| $display:expr) => {
        impl std::fmt::Display for $error {
            fn fmt(&self, $f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $e = self;
                $display
            }
        }

        impl std::error::Error for $error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                std::error::Error::source(&self.kind)
            }
        }
    };
}
