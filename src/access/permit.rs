//! The proof that a caller may use a route. Nothing is forwarded without one.

use crate::access::Caller;
use crate::config::Access;

/// Proof that `caller` met what a route asks. [`Permit::grant`] is the only maker.
#[derive(Debug, Clone)]
pub struct Permit {
    caller: Caller,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The route asks for a signed-in caller, and this one is nobody.
    Anonymous,
    /// The caller is known and lacks a permission or a role.
    Lacking,
}

impl Permit {
    /// Asks `access` for `caller`.
    ///
    /// # Errors
    /// What is missing.
    pub fn grant(access: &Access, caller: Caller) -> Result<Self, Denied> {
        match access {
            // A public route tells its upstream nothing of who is signed in.
            Access::Public => Ok(Self { caller: Caller::Anonymous }),
            Access::Optional => Ok(Self { caller }),
            Access::Required { permissions, roles } => {
                let Some(identity) = caller.identity() else {
                    return Err(Denied::Anonymous);
                };
                let held = permissions.iter().all(|asked| identity.permissions.contains(asked));
                let role = roles.is_empty() || roles.iter().any(|one| identity.roles.contains(one));
                if held && role { Ok(Self { caller }) } else { Err(Denied::Lacking) }
            }
        }
    }

    /// Who was let through.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::Identity;
    use crate::clock::Timestamp;
    use crate::id::TokenId;

    fn caller(roles: &[&str], permissions: &[&str]) -> Caller {
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        Caller::Session(Arc::new(Identity {
            subject: "u".to_owned(),
            user: None,
            app: None,
            login: "ada".to_owned(),
            name: None,
            email: None,
            roles: owned(roles),
            permissions: owned(permissions),
            session: None,
            generation: 0,
            token: TokenId::from_bytes([0; 16]),
            issued_at: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH,
            auth_time: Timestamp::EPOCH,
        }))
    }

    fn required(permissions: &[&str], roles: &[&str]) -> Access {
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        Access::Required { permissions: owned(permissions), roles: owned(roles) }
    }

    #[test]
    fn a_required_route_refuses_nobody_and_lets_anybody_known_pass() {
        let denied = Permit::grant(&required(&[], &[]), Caller::Anonymous);
        assert_eq!(denied.unwrap_err(), Denied::Anonymous);
        assert!(Permit::grant(&required(&[], &[]), caller(&[], &[])).is_ok());
    }

    #[test]
    fn all_permissions_and_one_of_the_roles_are_asked() {
        let access = required(&["read", "write"], &["admin", "editor"]);
        let grant = |roles: &[&str], permissions: &[&str]| {
            Permit::grant(&access, caller(roles, permissions)).map(|_| ())
        };
        assert_eq!(grant(&["editor"], &["read", "write"]), Ok(()));
        assert_eq!(grant(&["editor"], &["read"]), Err(Denied::Lacking));
        assert_eq!(grant(&["guest"], &["read", "write"]), Err(Denied::Lacking));
        assert_eq!(grant(&[], &["read", "write"]), Err(Denied::Lacking));
    }

    #[test]
    fn a_public_route_forgets_who_calls() {
        let permit = Permit::grant(&Access::Public, caller(&[], &[])).unwrap();
        assert!(permit.caller().identity().is_none());
        let permit = Permit::grant(&Access::Optional, caller(&[], &[])).unwrap();
        assert!(permit.caller().identity().is_some());
    }
}
