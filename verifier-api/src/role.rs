//! Who may do what.

use utoipa::ToSchema;

/// What a token's owner is to the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the installation.
    Admin,
    /// The implementation entity: reads everything of its projects.
    Supervisor,
    /// Fills the monitoring report.
    Preparer,
    /// A project participant.
    Participant,
    /// The third-party entity that verifies.
    Verifier,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Open,
    /// A valid token of any role, of any project.
    SignedIn,
    /// Any role of the project.
    Read,
    /// Making reports: admin, preparer.
    Prepare,
    /// Entering records into the project log, each role its own kinds: admin, preparer, verifier.
    Enter,
    /// Seeing who read what: admin, supervisor, participant.
    Audit,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Admin,
        Self::Supervisor,
        Self::Preparer,
        Self::Participant,
        Self::Verifier,
    ];

    /// The word in files, commands and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Supervisor => "supervisor",
            Self::Preparer => "preparer",
            Self::Participant => "participant",
            Self::Verifier => "verifier",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether this role meets a need; the project is checked apart.
    #[must_use]
    pub const fn may(self, need: Need) -> bool {
        match need {
            Need::Open | Need::SignedIn | Need::Read => true,
            Need::Prepare => matches!(self, Self::Admin | Self::Preparer),
            Need::Enter => matches!(self, Self::Admin | Self::Preparer | Self::Verifier),
            Need::Audit => matches!(self, Self::Admin | Self::Supervisor | Self::Participant),
        }
    }
}

impl Need {
    /// The roles that meet it, for messages.
    #[must_use]
    pub fn roles(self) -> Vec<&'static str> {
        let may = Role::ALL.into_iter().filter(|role| role.may(self));
        may.map(Role::name).collect()
    }
}
