//! How appraisals answer: every check by name, with an outcome and a reason. Never a bool.

use core::fmt;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and holds.
    Pass,
    /// It ran and does not hold.
    Fail,
    /// It did not run; the reason says why. Not a pass.
    NotChecked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotChecked => "not checked",
        })
    }
}

/// One check of an appraisal. `C` is the closed list of that appraisal's checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check<C> {
    /// Which check; its text is stable.
    pub code: C,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, for a person: lower case, no period, with expected and found.
    pub reason: String,
}

/// Checks in the order in which they ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ledger<C>(pub(crate) Vec<Check<C>>);

impl<C> Ledger<C> {
    /// Notes the result of a check and hands on its value.
    pub(crate) fn note<T>(
        &mut self,
        code: C,
        result: Result<T, impl fmt::Display>,
        pass: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (outcome, reason) = match &result {
            Ok(value) => (Outcome::Pass, pass(value)),
            Err(error) => (Outcome::Fail, error.to_string()),
        };
        self.0.push(Check {
            code,
            outcome,
            reason,
        });
        result.ok()
    }

    /// Notes that a check could not run.
    pub(crate) fn skip(&mut self, code: C, reason: impl Into<String>) {
        self.0.push(Check {
            code,
            outcome: Outcome::NotChecked,
            reason: reason.into(),
        });
    }
}

/// The closed list of an appraisal's checks, each with its stable text.
macro_rules! checks {
    ($(#[$list:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$list])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every check, in the order in which an appraisal lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use checks;
