//! How a command fails: in words, and with an exit code that a script can act on.

/// Something did not work or does not agree.
pub const EXIT_FAILURE: u8 = 1;

/// Usage or configuration is wrong (sysexits `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// A line or device cannot be reached (sysexits `EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was found nevertheless; printed as the result would have been. Often empty.
    pub output: String,
    /// What to tell the user.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    fn with_code(text: impl Into<String>, code: u8) -> Self {
        Self {
            output: String::new(),
            text: text.into(),
            code,
        }
    }

    /// It did not work, or does not agree: exit code 1.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self::with_code(text, EXIT_FAILURE)
    }

    /// Usage or configuration is wrong: exit code 64.
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Self {
        Self::with_code(text, EXIT_USAGE)
    }

    /// A line or device cannot be reached: exit code 69.
    #[must_use]
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::with_code(text, EXIT_UNAVAILABLE)
    }

    /// Prints `output` before the failure is told.
    #[must_use]
    pub fn after(self, output: String) -> Self {
        Self { output, ..self }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(text)
    }
}
