//! Where to connect: to a fixed address, or to the address that sentinels name. [`Endpoint::locate`] is the
//! only place that distinguishes the two.

use std::fmt;
use std::sync::Arc;

use super::address::Address;
use super::loss::Loss;
use super::sentinels::{NamedMaster, Sentinels};
use super::settings::Role;

/// Where to connect.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Always to this address.
    Fixed(Address),
    /// To the master that these sentinels name. They are asked for each attempt.
    Sentinels(Arc<Sentinels>),
}

/// The address of one attempt.
pub(crate) enum Located<'a> {
    Fixed(&'a Address),
    Named(NamedMaster),
}

impl Endpoint {
    /// Returns the address to connect to now.
    ///
    /// # Errors
    /// [`Loss::NoMaster`] if no sentinel knows it.
    pub(crate) async fn locate(&self) -> Result<Located<'_>, Loss> {
        match self {
            Self::Fixed(address) => Ok(Located::Fixed(address)),
            Self::Sentinels(sentinels) => sentinels.master().await.map(Located::Named),
        }
    }
}

impl Located<'_> {
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::Fixed(address) => address,
            Self::Named(named) => &named.address,
        }
    }

    /// Returns the role that the Redis there must have. `of_fixed` is the role that a Redis at a fixed
    /// address must have.
    pub(crate) fn role(&self, of_fixed: Role) -> Role {
        match self {
            Self::Fixed(_) => of_fixed,
            Self::Named(_) => Role::Master,
        }
    }

    /// The attempt has succeeded. Without this call, the sentinel that named the address is asked last next
    /// time.
    pub(crate) fn was_right(self) {
        if let Self::Named(named) = self {
            named.was_right();
        }
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Fixed(address)
    }
}

impl PartialEq for Endpoint {
    /// Whether both are the same address, or ask the same [`Sentinels`].
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(address), Self::Fixed(other)) => address == other,
            (Self::Sentinels(sentinels), Self::Sentinels(other)) => Arc::ptr_eq(sentinels, other),
            _ => false,
        }
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Sentinels(sentinels) => sentinels.fmt(f),
        }
    }
}
