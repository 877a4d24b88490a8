//! What is measured.

/// A system, in the framework that it is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    BareAxum,
    BareActix,
    Axum,
    Actix,
    Idempotent2,
    AxumIdempotent,
    ActixIdempotent,
}

impl System {
    pub(crate) const ALL: [Self; 7] = [
        Self::BareAxum,
        Self::Axum,
        Self::Idempotent2,
        Self::AxumIdempotent,
        Self::BareActix,
        Self::Actix,
        Self::ActixIdempotent,
    ];

    pub(crate) fn named(argument: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|system| system.argument() == argument)
    }

    /// What it is called on the command line, and as a feature of the package `build-time`.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::BareAxum => "axum",
            Self::BareActix => "actix",
            Self::Axum => "idempotent-axum",
            Self::Actix => "idempotent-actix",
            Self::Idempotent2 => "idempotent-2",
            Self::AxumIdempotent => "axum-idempotent",
            Self::ActixIdempotent => "actix-idempotent",
        }
    }

    /// What it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BareAxum => "bare axum",
            Self::BareActix => "bare actix-web",
            Self::Axum => "**this one, axum**",
            Self::Actix => "**this one, actix-web**",
            Self::Idempotent2 => "`idempotent` 2.0 (axum)",
            Self::AxumIdempotent => "`axum-idempotent` 0.6",
            Self::ActixIdempotent => "`actix-idempotent` 0.1",
        }
    }

    /// The same application without protection.
    pub(crate) fn bare(self) -> Self {
        match self {
            Self::BareAxum | Self::Axum | Self::Idempotent2 | Self::AxumIdempotent => {
                Self::BareAxum
            }
            Self::BareActix | Self::Actix | Self::ActixIdempotent => Self::BareActix,
        }
    }

    pub(crate) fn is_bare(self) -> bool {
        self.bare() == self
    }

    pub(crate) fn is_actix(self) -> bool {
        self.bare() == Self::BareActix
    }

    /// Whether it keeps its records in the caller's session.
    pub(crate) fn has_sessions(self) -> bool {
        matches!(self, Self::AxumIdempotent | Self::ActixIdempotent)
    }

    /// Whether it tells a request that asks for no protection. `actix-idempotent` hashes every
    /// request, and takes two that are the same for one.
    pub(crate) fn knows_no_key(self) -> bool {
        self != Self::ActixIdempotent
    }

    /// With how many live keys its first execution is measured. A session of a million keys takes
    /// longer to fill than the whole measurement.
    pub(crate) fn levels(self) -> &'static [u64] {
        if self.has_sessions() {
            &[0, 10_000, 100_000]
        } else {
            &[0, 10_000, 100_000, 1_000_000]
        }
    }
}
